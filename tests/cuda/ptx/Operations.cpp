// SPDX-License-Identifier: Apache-2.0

#include "tests/cuda/ptx/Operations.h"

#include "tests/cuda/ptx/SmallFloats.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <map>
#include <tuple>

namespace tpac::ptx {
namespace {

// --- One result per lane

template <typename F, typename R, typename... A> struct PerLane {
  template <size_t... N> static void run(Warp &warp, const Instruction &instruction, std::index_sequence<N...>) {
    R *to = warp.lanes<R>(instruction.to[0]);
    const std::tuple<const A *...> from = {warp.lanes<A>(instruction.from[N])...};
    forActiveLanes(warp, [&](int lane) { to[lane] = F{}(std::get<N>(from)[lane]...); });
  }
  static void execute(Warp &warp, const Instruction &instruction) {
    run(warp, instruction, std::index_sequence_for<A...>());
  }
};

template <typename F, typename R, typename... A> Operation perLane(R (F::*)(A...) const) {
  return {PerLane<F, R, A...>::execute, Flow::next, {sizeof(R)}, {sizeof(A)...}};
}

/// Of a function of the operands' values.
template <typename F> Operation each(F) { return perLane(&F::operator()); }

/// Numbers below the smallest normal one are zero (.ftz).
float flushed(float x) {
  const auto bits = std::bit_cast<uint32_t>(x);
  return std::bit_cast<float>((bits & 0x7f800000) == 0 ? bits & 0x80000000 : bits);
}

/// The product is exact in f64, and so is, but for its last bits, the sum.
float multiplyAdd(float x, float y, float z) {
  return static_cast<float>(static_cast<double>(x) * static_cast<double>(y) + static_cast<double>(z));
}

float largest(float x, float y) { return std::isnan(x) ? y : std::isnan(y) ? x : std::max(x, y); }
float smallest(float x, float y) { return std::isnan(x) ? y : std::isnan(y) ? x : std::min(x, y); }

/// Towards zero, NaN to zero, at most what `T` holds.
template <typename T> T saturated(double x) {
  if (std::isnan(x))
    return 0;
  return static_cast<T>(std::clamp(std::trunc(x), static_cast<double>(std::numeric_limits<T>::min()),
                                   static_cast<double>(std::numeric_limits<T>::max())));
}

uint32_t permuted(uint32_t x, uint32_t y, uint32_t selector) {
  const uint64_t bytes = uint64_t(y) << 32 | x;
  uint32_t result = 0;
  for (int i = 0; i < 4; ++i) {
    const uint32_t which = selector >> 4 * i & 0xf;
    auto byte = static_cast<uint8_t>(bytes >> 8 * (which & 7));
    if (which & 8)
      byte = byte & 0x80 ? 0xff : 0;
    result |= uint32_t(byte) << 8 * i;
  }
  return result;
}

template <typename T> T field(T x, uint32_t position, uint32_t length) {
  constexpr uint32_t bits = sizeof(T) * 8;
  if ((position & 0xff) >= bits || (length & 0xff) == 0)
    return 0;
  x >>= position & 0xff;
  return (length & 0xff) >= bits ? x : x & ((T(1) << (length & 0xff)) - 1);
}

/// Of two 16-bit numbers in 32 bits.
template <typename F> uint32_t halves(F f, uint32_t x, uint32_t y, uint32_t z) {
  const auto half = [&](int shift) {
    return uint32_t(f(uint16_t(x >> shift), uint16_t(y >> shift), uint16_t(z >> shift))) << shift;
  };
  return half(0) | half(16);
}

uint16_t multiplyAddBf16(uint16_t x, uint16_t y, uint16_t z) {
  return bf16FromDouble(double(bf16ToFloat(x)) * double(bf16ToFloat(y)) + double(bf16ToFloat(z)));
}
uint16_t multiplyAddHalf(uint16_t x, uint16_t y, uint16_t z) {
  return halfFromDouble(double(halfToFloat(x)) * double(halfToFloat(y)) + double(halfToFloat(z)));
}

// --- Lanes together

enum class Shuffle { up, down, butterfly, index };

template <Shuffle kind> void shuffle(Warp &warp, const Instruction &instruction) {
  const uint32_t *value = warp.lanes<uint32_t>(instruction.from[0]), *which = warp.lanes<uint32_t>(instruction.from[1]),
                 *control = warp.lanes<uint32_t>(instruction.from[2]);
  std::array<uint32_t, lanesOfWarp> result{};
  for (uint32_t lane = 0; lane < lanesOfWarp; ++lane) {
    const uint32_t segment = control[lane] >> 8 & 31, clamp = control[lane] & 31, b = which[lane] & 31;
    const uint32_t last = (lane & segment) | (clamp & ~segment), first = lane & segment;
    bool isInside = false;
    uint32_t source = 0;
    switch (kind) {
    case Shuffle::up:
      source = lane - b;
      isInside = static_cast<int32_t>(source) >= static_cast<int32_t>(last);
      break;
    case Shuffle::down:
      source = lane + b;
      isInside = source <= last;
      break;
    case Shuffle::butterfly:
      source = lane ^ b;
      isInside = source <= last;
      break;
    case Shuffle::index:
      source = first | (b & ~segment);
      isInside = source <= last;
      break;
    }
    result[lane] = value[isInside ? source & 31 : lane];
  }
  std::ranges::copy(result, warp.lanes<uint32_t>(instruction.to[0]));
}

uint32_t ballotOf(Warp &warp, const Instruction &instruction) {
  const uint8_t *predicate = warp.lanes<uint8_t>(instruction.from[0]);
  uint32_t set = 0;
  for (int lane = 0; lane < lanesOfWarp; ++lane)
    set |= uint32_t(predicate[lane] != 0 && warp.active >> lane & 1) << lane;
  return set;
}

template <typename F> void vote(Warp &warp, const Instruction &instruction) {
  const auto result = F{}(ballotOf(warp, instruction), warp.active);
  auto *to = warp.lanes<std::remove_const_t<decltype(result)>>(instruction.to[0]);
  std::fill_n(to, lanesOfWarp, result);
}

template <typename F> Operation votes(F) { return {vote<F>, Flow::together, {sizeof(F{}(0u, 0u))}, {1, 4}}; }

/// An 8x8 matrix, of which lane l has elements 2 (l % 4) and the next of row l / 4, transposed.
void transposeMatrix(Warp &warp, const Instruction &instruction) {
  const uint32_t *from = warp.lanes<uint32_t>(instruction.from[0]);
  uint16_t matrix[8][8];
  for (int lane = 0; lane < lanesOfWarp; ++lane)
    for (int half : {0, 1})
      matrix[lane / 4][2 * (lane % 4) + half] = static_cast<uint16_t>(from[lane] >> 16 * half);
  uint32_t *to = warp.lanes<uint32_t>(instruction.to[0]);
  for (int lane = 0; lane < lanesOfWarp; ++lane) {
    const int row = 2 * (lane % 4);
    to[lane] = uint32_t(matrix[row + 1][lane / 4]) << 16 | matrix[row][lane / 4];
  }
}

/// D = A (16x16) B (16x8) + C; who has which element: PTX ISA, "Matrix Fragments for mma.m16n8k16".
template <float (*widen)(uint16_t)> void multiplyMatrices(Warp &warp, const Instruction &instruction) {
  alignas(64) float a[16][16], b[16][8], c[16][8];
  const auto pair = [](uint32_t packed, float &low, float &high) {
    low = widen(static_cast<uint16_t>(packed));
    high = widen(static_cast<uint16_t>(packed >> 16));
  };
  const auto from = [&](int operand) { return warp.lanes<uint32_t>(instruction.from[static_cast<size_t>(operand)]); };
  const auto sum = [&](int operand) { return warp.lanes<float>(instruction.from[static_cast<size_t>(operand)]); };
  for (int lane = 0; lane < lanesOfWarp; ++lane) {
    const int row = lane / 4, column = 2 * (lane % 4);
    for (int i = 0; i < 4; ++i)
      pair(from(i)[lane], a[row + 8 * (i % 2)][column + 8 * (i / 2)], a[row + 8 * (i % 2)][column + 8 * (i / 2) + 1]);
    for (int i = 0; i < 2; ++i)
      pair(from(4 + i)[lane], b[column + 8 * i][row], b[column + 8 * i + 1][row]);
    for (int i = 0; i < 4; ++i)
      c[row + 8 * (i / 2)][column + i % 2] = sum(6 + i)[lane];
  }
  for (auto &row : c)
    for (int k = 0; k < 16; ++k)
      for (int n = 0; n < 8; ++n)
        row[n] += a[&row - c][k] * b[k][n];
  for (int lane = 0; lane < lanesOfWarp; ++lane)
    for (int i = 0; i < 4; ++i)
      warp.lanes<float>(instruction.to[static_cast<size_t>(i)])[lane] =
          c[lane / 4 + 8 * (i / 2)][2 * (lane % 4) + i % 2];
}

void nothing(Warp &, const Instruction &) {}

using U8 = uint8_t;
using U16 = uint16_t;
using S16 = int16_t;
using U32 = uint32_t;
using S32 = int32_t;
using U64 = uint64_t;
using S64 = int64_t;

using Table = std::map<std::string, Operation, std::less<>>;

/// Operations of unsigned or signed integers `T`; `type` is "u32" or so.
template <typename T> void addIntegers(Table &table, const std::string &type) {
  table["min." + type] = each([](T x, T y) { return std::min(x, y); });
  table["max." + type] = each([](T x, T y) { return std::max(x, y); });
  table["setp.eq." + type] = each([](T x, T y) { return x == y; });
  table["setp.ne." + type] = each([](T x, T y) { return x != y; });
  table["setp.lt." + type] = each([](T x, T y) { return x < y; });
  table["setp.le." + type] = each([](T x, T y) { return x <= y; });
  table["setp.gt." + type] = each([](T x, T y) { return x > y; });
  table["setp.ge." + type] = each([](T x, T y) { return x >= y; });
}

/// Operations that are the same for all types of as many bits as the unsigned `T`.
template <typename T> void addBits(Table &table, const std::string &bits) {
  for (const char *sign : {"s", "u"}) {
    table["add." + (sign + bits)] = each([](T x, T y) { return static_cast<T>(x + y); });
    table["sub." + (sign + bits)] = each([](T x, T y) { return static_cast<T>(x - y); });
    table["mul.lo." + (sign + bits)] = each([](T x, T y) { return static_cast<T>(U64(x) * y); });
    table["mad.lo." + (sign + bits)] = each([](T x, T y, T z) { return static_cast<T>(U64(x) * y + z); });
  }
  table["and.b" + bits] = each([](T x, T y) { return static_cast<T>(x & y); });
  table["or.b" + bits] = each([](T x, T y) { return static_cast<T>(x | y); });
  table["xor.b" + bits] = each([](T x, T y) { return static_cast<T>(x ^ y); });
  table["not.b" + bits] = each([](T x) { return static_cast<T>(~x); });
  table["setp.eq.b" + bits] = each([](T x, T y) { return x == y; });
  table["setp.ne.b" + bits] = each([](T x, T y) { return x != y; });
  for (const char *kind : {"b", "u", "s", "f"}) {
    table["selp." + (kind + bits)] = each([](T x, T y, bool p) { return p ? x : y; });
    table["mov." + (kind + bits)] = each([](T x) { return x; });
  }
}

Table makeTable() {
  const Operation product = {
      multiplyMatrices<bf16ToFloat>, Flow::together, {4, 4, 4, 4}, {4, 4, 4, 4, 4, 4, 4, 4, 4, 4}};
  Operation halfProduct = product;
  halfProduct.execute = multiplyMatrices<halfToFloat>;
  const auto shuffled = [](Execute execute) { return Operation{execute, Flow::together, {4}, {4, 4, 4, 4}}; };
  const Operation ignored = {nothing, Flow::next, {}, {}};
  Table table = {
      // Integers.
      {"mul.hi.u16", each([](U16 x, U16 y) { return U16(U32(x) * y >> 16); })},
      {"mul.hi.u32", each([](U32 x, U32 y) { return U32(U64(x) * y >> 32); })},
      {"mul.wide.u32", each([](U32 x, U32 y) { return U64(x) * y; })},
      {"mul.wide.s32", each([](S32 x, S32 y) { return S64(x) * y; })},
      {"mul.wide.u16", each([](U16 x, U16 y) { return U32(x) * y; })},
      {"mad.wide.u32", each([](U32 x, U32 y, U64 z) { return U64(x) * y + z; })},
      {"mad.wide.s32", each([](S32 x, S32 y, S64 z) { return S64(x) * y + z; })},
      {"div.u32", each([](U32 x, U32 y) { return y == 0 ? ~0u : x / y; })},
      {"rem.u32", each([](U32 x, U32 y) { return y == 0 ? x : x % y; })},
      {"div.s32", each([](S32 x, S32 y) { return y == 0 ? -1 : S32(S64(x) / y); })},
      {"neg.s32", each([](U32 x) { return 0 - x; })},
      {"neg.s64", each([](U64 x) { return 0 - x; })},
      {"abs.s32", each([](S32 x) { return U32(x < 0 ? 0 - U32(x) : U32(x)); })},
      {"min.relu.s32", each([](S32 x, S32 y) { return std::max(std::min(x, y), 0); })},
      {"max.relu.s32", each([](S32 x, S32 y) { return std::max({x, y, 0}); })},
      {"and.pred", each([](bool x, bool y) { return x && y; })},
      {"or.pred", each([](bool x, bool y) { return x || y; })},
      {"xor.pred", each([](bool x, bool y) { return x != y; })},
      {"not.pred", each([](bool x) { return !x; })},
      {"shl.b16", each([](U16 x, U32 y) { return U16(y > 15 ? 0 : x << y); })},
      {"shr.u16", each([](U16 x, U32 y) { return U16(y > 15 ? 0 : x >> y); })},
      {"shr.s16", each([](S16 x, U32 y) { return S16(x >> std::min(y, 15u)); })},
      {"shl.b32", each([](U32 x, U32 y) { return y > 31 ? 0 : x << y; })},
      {"shr.u32", each([](U32 x, U32 y) { return y > 31 ? 0 : x >> y; })},
      {"shr.s32", each([](S32 x, U32 y) { return x >> std::min(y, 31u); })},
      {"shl.b64", each([](U64 x, U32 y) { return y > 63 ? 0 : x << y; })},
      {"shr.u64", each([](U64 x, U32 y) { return y > 63 ? 0 : x >> y; })},
      {"shr.s64", each([](S64 x, U32 y) { return x >> std::min(y, 63u); })},
      {"shf.l.wrap.b32", each([](U32 x, U32 y, U32 n) { return U32((U64(y) << 32 | x) << (n & 31) >> 32); })},
      {"shf.r.wrap.b32", each([](U32 x, U32 y, U32 n) { return U32((U64(y) << 32 | x) >> (n & 31)); })},
      {"bfe.u32", each([](U32 x, U32 position, U32 length) { return field(x, position, length); })},
      {"bfe.s32", each([](S32 x, U32 position, U32 length) {
         // Behind the number's end, too, the sign goes on.
         const S32 shifted = x >> std::min(position & 0xff, 31u);
         const U32 rest = 32 - std::min(length & 0xff, 32u);
         return rest > 31 ? 0 : S32(U32(shifted) << rest) >> rest;
       })},
      {"bfe.u64", each([](U64 x, U32 position, U32 length) { return field(x, position, length); })},
      {"popc.b32", each([](U32 x) { return U32(std::popcount(x)); })},
      {"clz.b32", each([](U32 x) { return U32(std::countl_zero(x)); })},
      {"brev.b32", each([](U32 x) {
         U32 result = 0;
         for (int i = 0; i < 32; ++i)
           result |= (x >> i & 1) << (31 - i);
         return result;
       })},
      {"prmt.b32", each([](U32 x, U32 y, U32 selector) { return permuted(x, y, selector); })},
      // Global addresses are generic ones.
      {"cvta.to.global.u64", each([](U64 x) { return x; })},
      {"mov.pred", each([](bool x) { return x; })},
      // Comparisons.
      {"setp.eq.ftz.f32", each([](float x, float y) { return flushed(x) == flushed(y); })},
      {"setp.ne.ftz.f32", each([](float x, float y) { return flushed(x) < flushed(y) || flushed(x) > flushed(y); })},
      {"setp.lt.ftz.f32", each([](float x, float y) { return flushed(x) < flushed(y); })},
      {"setp.le.ftz.f32", each([](float x, float y) { return flushed(x) <= flushed(y); })},
      {"setp.gt.ftz.f32", each([](float x, float y) { return flushed(x) > flushed(y); })},
      {"setp.ge.ftz.f32", each([](float x, float y) { return flushed(x) >= flushed(y); })},
      {"setp.gtu.ftz.f32", each([](float x, float y) { return !(flushed(x) <= flushed(y)); })},
      {"setp.neu.ftz.f32", each([](float x, float y) { return !(flushed(x) == flushed(y)); })},
      // f32; approximations are as exact here as the host's functions.
      {"add.rn.ftz.f32", each([](float x, float y) { return flushed(flushed(x) + flushed(y)); })},
      {"sub.rn.ftz.f32", each([](float x, float y) { return flushed(flushed(x) - flushed(y)); })},
      {"mul.rn.ftz.f32", each([](float x, float y) { return flushed(flushed(x) * flushed(y)); })},
      {"div.rn.ftz.f32", each([](float x, float y) { return flushed(flushed(x) / flushed(y)); })},
      {"rcp.rn.ftz.f32", each([](float x) { return flushed(1.0f / flushed(x)); })},
      {"fma.rn.ftz.f32",
       each([](float x, float y, float z) { return flushed(multiplyAdd(flushed(x), flushed(y), flushed(z))); })},
      {"max.ftz.f32", each([](float x, float y) { return flushed(largest(x, y)); })},
      {"min.ftz.f32", each([](float x, float y) { return flushed(smallest(x, y)); })},
      {"neg.ftz.f32", each([](float x) { return -flushed(x); })},
      {"abs.ftz.f32", each([](float x) { return std::abs(flushed(x)); })},
      {"ex2.approx.ftz.f32", each([](float x) { return flushed(std::exp2(flushed(x))); })},
      {"lg2.approx.ftz.f32", each([](float x) { return flushed(std::log2(flushed(x))); })},
      {"sin.approx.ftz.f32", each([](float x) { return flushed(std::sin(flushed(x))); })},
      {"cos.approx.ftz.f32", each([](float x) { return flushed(std::cos(flushed(x))); })},
      // f64.
      {"add.rn.f64", each([](double x, double y) { return x + y; })},
      {"sub.rn.f64", each([](double x, double y) { return x - y; })},
      {"mul.rn.f64", each([](double x, double y) { return x * y; })},
      {"fma.rn.f64", each([](double x, double y, double z) { return std::fma(x, y, z); })},
      // Pairs of 16-bit numbers.
      {"fma.rn.bf16x2", each([](U32 x, U32 y, U32 z) { return halves(multiplyAddBf16, x, y, z); })},
      {"fma.rn.f16x2", each([](U32 x, U32 y, U32 z) { return halves(multiplyAddHalf, x, y, z); })},
      // Conversions.
      {"cvt.u64.u32", each([](U32 x) { return U64(x); })},
      {"cvt.s64.s32", each([](S32 x) { return S64(x); })},
      {"cvt.s64.s32 of b64", each([](U64 x) { return S64(static_cast<S32>(x)); })},
      {"cvt.u32.u64", each([](U64 x) { return U32(x); })},
      {"cvt.u32.u16", each([](U16 x) { return U32(x); })},
      {"cvt.s32.s16", each([](S16 x) { return S32(x); })},
      {"cvt.u16.u32", each([](U32 x) { return U16(x); })},
      {"cvt.s32.s8", each([](U32 x) { return S32(static_cast<int8_t>(x)); })},
      {"cvt.s16.s8", each([](U16 x) { return S16(static_cast<int8_t>(x)); })},
      {"cvt.u64.u16", each([](U16 x) { return U64(x); })},
      {"cvt.rn.f32.s32", each([](S32 x) { return static_cast<float>(x); })},
      {"cvt.rn.f32.u32", each([](U32 x) { return static_cast<float>(x); })},
      {"cvt.rn.f32.s16", each([](S16 x) { return static_cast<float>(x); })},
      {"cvt.rn.f32.u16", each([](U16 x) { return static_cast<float>(x); })},
      {"cvt.rn.f64.s32", each([](S32 x) { return static_cast<double>(x); })},
      {"cvt.rni.f64.f64", each([](double x) { return std::nearbyint(x); })},
      {"cvt.rn.ftz.f32.f64", each([](double x) { return flushed(static_cast<float>(x)); })},
      {"cvt.rni.ftz.f32.f32", each([](float x) { return std::nearbyint(flushed(x)); })},
      {"cvt.rzi.ftz.s16.f32", each([](float x) { return saturated<S16>(flushed(x)); })},
      {"cvt.rzi.ftz.s32.f32", each([](float x) { return saturated<S32>(flushed(x)); })},
      {"cvt.rni.ftz.s32.f32", each([](float x) { return saturated<S32>(std::nearbyint(flushed(x))); })},
      {"cvt.rn.bf16.f32", each([](float x) { return bf16FromDouble(x); })},
      {"cvt.rn.f16.f32", each([](float x) { return halfFromDouble(x); })},
      {"cvt.f32.f16", each([](U16 x) { return halfToFloat(x); })},
      {"cvt.ftz.f32.f16", each([](U16 x) { return halfToFloat(x); })},
      {"cvt.f32.bf16", each([](U16 x) { return bf16ToFloat(x); })},
      {"cvt.rn.bf16x2.f32", each([](float x, float y) { return U32(bf16FromDouble(x)) << 16 | bf16FromDouble(y); })},
      {"cvt.rn.f16x2.f32", each([](float x, float y) { return U32(halfFromDouble(x)) << 16 | halfFromDouble(y); })},
      // Lanes together.
      {"shfl.sync.up.b32", shuffled(shuffle<Shuffle::up>)},
      {"shfl.sync.down.b32", shuffled(shuffle<Shuffle::down>)},
      {"shfl.sync.bfly.b32", shuffled(shuffle<Shuffle::butterfly>)},
      {"shfl.sync.idx.b32", shuffled(shuffle<Shuffle::index>)},
      {"vote.sync.ballot.b32", votes([](U32 set, U32) { return set; })},
      {"vote.sync.any.pred", votes([](U32 set, U32) { return set != 0; })},
      {"vote.sync.all.pred", votes([](U32 set, U32 active) { return set == active; })},
      {"bar.warp.sync", {nothing, Flow::together, {}, {4}}},
      {"movmatrix.sync.aligned.m8n8.trans.b16", {transposeMatrix, Flow::together, {4}, {4}}},
      {"mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32", product},
      {"mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32", halfProduct},
      // Launches follow each other here, and shared memory has one view.
      {"griddepcontrol.wait", ignored},
      {"griddepcontrol.launch_dependents", ignored},
      {"fence.proxy.async.shared::cta", ignored},
      {"fence.mbarrier_init.release.cluster", ignored},
  };
  addIntegers<U16>(table, "u16");
  addIntegers<S16>(table, "s16");
  addIntegers<U32>(table, "u32");
  addIntegers<S32>(table, "s32");
  addIntegers<U64>(table, "u64");
  addIntegers<S64>(table, "s64");
  addBits<U16>(table, "16");
  addBits<U32>(table, "32");
  addBits<U64>(table, "64");
  return table;
}

} // namespace

const Operation *findOperation(std::string_view opcode) {
  static const Table table = makeTable();
  auto found = table.find(opcode);
  return found == table.end() ? nullptr : &found->second;
}

} // namespace tpac::ptx
