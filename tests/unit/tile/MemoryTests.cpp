// SPDX-License-Identifier: Apache-2.0
//
// Loads and stores: axes, strides, limits and bounds; the memref ops.

#include "tests/unit/tile/TestProgram.h"

#include <gtest/gtest.h>

#include <cmath>

using namespace tpac;

namespace {

using Values = std::vector<double>;

bool contains(const std::string &text, const std::string &part) { return text.find(part) != std::string::npos; }

/// Copies a 2 x 3 block of `from` at (%i, %j) with %n rows to the start of `to`.
const char *const copyBlock = R"(
  func.func @main(%from: memref<?x?xf32>, %to: memref<?x?xf64>, %i: index, %j: index, %n: index) {
    %c0 = arith.constant 0 : index
    %x = tile.load %from[%i, %j] axes ["m", "d"] limits ["m"] (%n) : memref<?x?xf32> -> !tile.tile<m 2, d 3, f32>
    %y = tile.convert %x : !tile.tile<m 2, d 3, f32> -> !tile.tile<m 2, d 3, f64>
    tile.store %y, %to[%c0, %c0] axes ["m", "d"] : !tile.tile<m 2, d 3, f64> -> memref<?x?xf64>
    return
  })";

TestMemory numbered(ElementType type, int64_t rows, int64_t columns) {
  Values values;
  for (int64_t i = 0; i < rows * columns; ++i)
    values.push_back(static_cast<double>(i));
  return TestMemory(type, {rows, columns}, values);
}

} // namespace

TEST(Memory, LoadsABlock) {
  TestMemory from = numbered(ElementType::f32, 4, 5);
  TestMemory to(ElementType::f64, {2, 3});
  ASSERT_EQ(runProgram(copyBlock, {from.view(), to.view(), 2, 1, 2}), "");
  EXPECT_EQ(to.values(), (Values{11, 12, 13, 16, 17, 18}));
}

TEST(Memory, BeyondTheLimitIsZeroAndNotRead) {
  TestMemory from = numbered(ElementType::f32, 4, 5);
  TestMemory to(ElementType::f64, {2, 3}, 7.0);
  // Row 4 does not exist, and need not.
  ASSERT_EQ(runProgram(copyBlock, {from.view(), to.view(), 3, 0, 1}), "");
  EXPECT_EQ(to.values(), (Values{15, 16, 17, 0, 0, 0}));
  for (int64_t limit : {0, -5}) {
    MemoryView nothing = {ElementType::f32, nullptr, {0, 5}, {5, 1}};
    TestMemory zeros(ElementType::f64, {2, 3}, 7.0);
    ASSERT_EQ(runProgram(copyBlock, {nothing, zeros.view(), 1000, 1000, limit}), "");
    EXPECT_EQ(zeros.values(), Values(6, 0.0));
  }
  // A limit beyond the tile limits nothing.
  ASSERT_EQ(runProgram(copyBlock, {from.view(), to.view(), 1, 0, 100}), "");
  EXPECT_EQ(to.values(), (Values{5, 6, 7, 10, 11, 12}));
}

TEST(Memory, OutOfBoundsLoadsAreErrors) {
  TestMemory from = numbered(ElementType::f32, 4, 5);
  TestMemory to(ElementType::f64, {2, 3}, 7.0);
  std::string error = runProgram(copyBlock, {from.view(), to.view(), 3, 0, 2});
  EXPECT_TRUE(contains(error, "tile.load: out of bounds: dimension 0 has elements 0 to 3, accessed are 3 to 4"))
      << error;
  EXPECT_TRUE(contains(error, "tile.load %arg0[%arg2, %arg3]")) << error;
  error = runProgram(copyBlock, {from.view(), to.view(), -1, 0, 2});
  EXPECT_TRUE(contains(error, "dimension 0 has elements 0 to 3, accessed are -1 to 0")) << error;
  error = runProgram(copyBlock, {from.view(), to.view(), 0, 3, 2});
  EXPECT_TRUE(contains(error, "dimension 1 has elements 0 to 4, accessed are 3 to 5")) << error;
  EXPECT_EQ(to.values(), Values(6, 7.0));
}

TEST(Memory, OutOfBoundsStoresAreErrorsAndWriteNothing) {
  TestMemory from = numbered(ElementType::f32, 4, 5);
  TestMemory to(ElementType::f64, {2, 2}, 7.0);
  std::string error = runProgram(copyBlock, {from.view(), to.view(), 0, 0, 2});
  EXPECT_TRUE(contains(error, "tile.store: out of bounds: dimension 1 has elements 0 to 1, accessed are 0 to 2"))
      << error;
  EXPECT_EQ(to.values(), Values(4, 7.0));
}

TEST(Memory, StoresWithinLimitsOnly) {
  std::string program = R"(
    func.func @main(%to: memref<3x4xf32>, %rows: index, %columns: index) {
      %c1 = arith.constant 1 : index
      %x = tile.fill 1.0 : !tile.tile<n 2, e 3, f32>
      tile.store %x, %to[%c1, %c1] axes ["n", "e"] limits ["e", "n"] (%columns, %rows)
        : !tile.tile<n 2, e 3, f32> -> memref<3x4xf32>
      return
    })";
  TestMemory to(ElementType::f32, {3, 4}, 7.0);
  ASSERT_EQ(runProgram(program, {to.view(), 1, 2}), "");
  EXPECT_EQ(to.values(), (Values{7, 7, 7, 7, 7, 1, 1, 7, 7, 7, 7, 7}));
}

TEST(Memory, DimensionsWithoutAxisAndAxesInAnyOrder) {
  // Rank %r of a [tokens, ranks, heads] tensor as a tile h x m.
  std::string program = R"(
    func.func @main(%a: memref<?x2x3xi8>, %r: index, %out: memref<3x2xi8>) {
      %c0 = arith.constant 0 : index
      %x = tile.load %a[%c0, %r, %c0] axes ["m", "", "h"] : memref<?x2x3xi8> -> !tile.tile<h 3, m 2, i8>
      tile.store %x, %out[%c0, %c0] axes ["h", "m"] : !tile.tile<h 3, m 2, i8> -> memref<3x2xi8>
      return
    })";
  TestMemory a(ElementType::i8, {2, 2, 3}, {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11});
  TestMemory out(ElementType::i8, {3, 2});
  ASSERT_EQ(runProgram(program, {a.view(), 1, out.view()}), "");
  EXPECT_EQ(out.values(), (Values{3, 9, 4, 10, 5, 11}));
  std::string error = runProgram(program, {a.view(), 2, out.view()});
  EXPECT_TRUE(contains(error, "dimension 1 has elements 0 to 1, accessed are 2 to 2")) << error;
}

TEST(Memory, AxesInBlocks) {
  // Tokens %i to %i + 5 of [blocks of 4, 2 features, 4 tokens], %n of them, to [tokens, features] and back, one
  // further.
  std::string program = R"(
    !blocks = memref<?x2x4xf32>
    func.func @main(%from: !blocks, %i: index, %n: index, %to: memref<5x2xf32>, %back: !blocks, %place: index) {
      %c0 = arith.constant 0 : index
      %c1 = arith.constant 1 : index
      %x = tile.load %from[%i, %c0, %place] axes ["m", "e", "m"] limits ["m"] (%n) : !blocks -> !tile.tile<m 5, e 2, f32>
      tile.store %x, %to[%c0, %c0] axes ["m", "e"] : !tile.tile<m 5, e 2, f32> -> memref<5x2xf32>
      %next = arith.addi %i, %c1 : index
      tile.store %x, %back[%next, %c0, %place] axes ["m", "e", "m"] limits ["m"] (%n)
        : !tile.tile<m 5, e 2, f32> -> !blocks
      return
    })";
  // Element e of token m is 10 m + e.
  Values values(24), expected(24, -1.0);
  for (int64_t m = 0; m < 12; ++m)
    for (int64_t e = 0; e < 2; ++e)
      values[(m / 4 * 2 + e) * 4 + m % 4] = static_cast<double>(10 * m + e);
  TestMemory from(ElementType::f32, {3, 2, 4}, values);
  TestMemory to(ElementType::f32, {5, 2}), back(ElementType::f32, {3, 2, 4}, -1.0);
  ASSERT_EQ(runProgram(program, {from.view(), 2, 5, to.view(), back.view(), 0}), "");
  EXPECT_EQ(to.values(), (Values{20, 21, 30, 31, 40, 41, 50, 51, 60, 61}));
  for (int64_t m = 2; m < 7; ++m)
    for (int64_t e = 0; e < 2; ++e)
      expected[((m + 1) / 4 * 2 + e) * 4 + (m + 1) % 4] = static_cast<double>(10 * m + e);
  EXPECT_EQ(back.values(), expected);
  // Up to the last token; beyond the limit nothing is read.
  ASSERT_EQ(runProgram(program, {from.view(), 9, 2, to.view(), back.view(), 0}), "");
  EXPECT_EQ(to.values(), (Values{90, 91, 100, 101, 0, 0, 0, 0, 0, 0}));
  std::string error = runProgram(program, {from.view(), 8, 5, to.view(), back.view(), 0});
  EXPECT_TRUE(contains(error, "tile.load: out of bounds: dimension 0 has elements 0 to 2, accessed are 2 to 3"))
      << error;
  error = runProgram(program, {from.view(), -1, 1, to.view(), back.view(), 0});
  EXPECT_TRUE(contains(error, "dimension 0 has elements 0 to 2, accessed are -1 to -1")) << error;
  error = runProgram(program, {from.view(), 0, 1, to.view(), back.view(), 1});
  EXPECT_TRUE(contains(error, "dimension 2: expected index 0, the place within a block, got 1")) << error;
}

TEST(Memory, StridesMayBeAny) {
  TestMemory from = numbered(ElementType::f32, 4, 5);
  TestMemory to(ElementType::f64, {2, 3});
  // The transpose, from its last column backwards.
  MemoryView transposed = {ElementType::f32, from.view().at(19), {5, 4}, {-1, -5}};
  ASSERT_EQ(runProgram(copyBlock, {transposed, to.view(), 0, 0, 2}), "");
  EXPECT_EQ(to.values(), (Values{19, 14, 9, 18, 13, 8}));
}

TEST(Memory, AllocatedMemoryIsPoisonedAndKeepsValues) {
  std::string program = R"(
    func.func @main(%out: memref<2x2xf32>, %size: index) {
      %c0 = arith.constant 0 : index
      %c1 = arith.constant 1 : index
      %a = memref.alloca() : memref<2x2xf32>
      %b = memref.alloc(%size) : memref<?x2xf32>
      %x = tile.fill 3.0 : !tile.tile<d 2, f32>
      tile.store %x, %b[%c1, %c0] axes ["", "d"] : !tile.tile<d 2, f32> -> memref<?x2xf32>
      %last = tile.load %b[%c1, %c0] axes ["", "d"] : memref<?x2xf32> -> !tile.tile<d 2, f32>
      tile.store %last, %a[%c0, %c0] axes ["", "d"] : !tile.tile<d 2, f32> -> memref<2x2xf32>
      %all = tile.load %a[%c0, %c0] axes ["m", "d"] : memref<2x2xf32> -> !tile.tile<m 2, d 2, f32>
      tile.store %all, %out[%c0, %c0] axes ["m", "d"] : !tile.tile<m 2, d 2, f32> -> memref<2x2xf32>
      memref.dealloc %b : memref<?x2xf32>
      return
    })";
  TestMemory out(ElementType::f32, {2, 2});
  ASSERT_EQ(runProgram(program, {out.view(), 2}), "");
  Values values = out.values();
  EXPECT_EQ(values[0], 3.0);
  EXPECT_EQ(values[1], 3.0);
  EXPECT_TRUE(std::isnan(values[2]) && std::isnan(values[3]));
  std::string error = runProgram(program, {out.view(), 1});
  EXPECT_TRUE(contains(error, "dimension 0 has elements 0 to 0, accessed are 1 to 1")) << error;
  error = runProgram(program, {out.view(), -1});
  EXPECT_TRUE(contains(error, "memref.alloc: expected sizes >= 0, got -1")) << error;
}

TEST(Memory, SubviewsLimitTheirPart) {
  std::string program = R"(
    !part = memref<?xf64, strided<[?], offset: ?>>
    func.func @main(%a: memref<4x5xf64>, %row: index, %size: index, %out: memref<?xf64>) {
      %c0 = arith.constant 0 : index
      %v = memref.subview %a[%row, 1] [1, %size] [1, 2] : memref<4x5xf64> to memref<?xf64, strided<[2], offset: ?>>
      %part = memref.cast %v : memref<?xf64, strided<[2], offset: ?>> to !part
      %dim = memref.dim %part, %c0 : !part
      %x = tile.load %part[%c0] axes ["d"] limits ["d"] (%dim) : !part -> !tile.tile<d 3, f64>
      tile.store %x, %out[%c0] axes ["d"] : !tile.tile<d 3, f64> -> memref<?xf64>
      return
    })";
  TestMemory a = numbered(ElementType::f64, 4, 5);
  TestMemory out(ElementType::f64, {3}, 7.0);
  ASSERT_EQ(runProgram(program, {a.view(), 2, 2, out.view()}), "");
  EXPECT_EQ(out.values(), (Values{11, 13, 0}));
  std::string error = runProgram(program, {a.view(), 2, 3, out.view()});
  EXPECT_TRUE(contains(error, "memref.subview: out of bounds: dimension 1 has elements 0 to 4, accessed are 1 to 5"))
      << error;
  ASSERT_EQ(runProgram(program, {a.view(), 9, 0, out.view()}), "");
  EXPECT_EQ(out.values(), Values(3, 0.0));
}

TEST(Memory, CastChecksSizes) {
  std::string program = R"(
    func.func @main(%a: memref<?xf64>) {
      %b = memref.cast %a : memref<?xf64> to memref<3xf64>
      return
    })";
  TestMemory a(ElementType::f64, {3});
  EXPECT_EQ(runProgram(program, {a.view()}), "");
  TestMemory b(ElementType::f64, {2});
  std::string error = runProgram(program, {b.view()});
  EXPECT_TRUE(contains(error, "memref.cast: expected memory of type memref<3xf64>, got size 2 in dimension 0"))
      << error;
}

TEST(Memory, ScalarLoads) {
  std::string program = R"(
    func.func @main(%lengths: memref<?xi32>, %b: index, %out: memref<?xf64>) {
      %n = memref.load %lengths[%b] : memref<?xi32>
      %limit = arith.index_cast %n : i32 to index
      %c0 = arith.constant 0 : index
      %x = tile.fill 1.0 : !tile.tile<d 4, f64>
      tile.store %x, %out[%c0] axes ["d"] limits ["d"] (%limit) : !tile.tile<d 4, f64> -> memref<?xf64>
      return
    })";
  TestMemory lengths(ElementType::i32, {3}, {1, 3, -2});
  for (auto [b, count] : {std::pair(0, 1), {1, 3}, {2, 0}}) {
    TestMemory out(ElementType::f64, {4});
    ASSERT_EQ(runProgram(program, {lengths.view(), b, out.view()}), "");
    Values expected(4, 0.0);
    std::fill_n(expected.begin(), count, 1.0);
    EXPECT_EQ(out.values(), expected);
  }
  TestMemory out(ElementType::f64, {4});
  std::string error = runProgram(program, {lengths.view(), 3, out.view()});
  EXPECT_TRUE(contains(error, "memref.load: out of bounds: dimension 0 has elements 0 to 2, accessed are 3 to 3"))
      << error;
}

TEST(Memory, PagesThatATableGives) {
  // Pages of 4 numbers; from %m on 6 of request %b, %n of which exist.
  auto program = [](const std::string &runs) {
    return R"(
    func.func @main(%pool: memref<?x4xf32>, %table: memref<?x?xi32>, %b: index, %m: index, %n: index, %out: memref<6xf32>) {
      %c0 = arith.constant 0 : index
      %x = tile.load %pool[%b, %m] axes ["", "m"] limits ["m"] (%n) pages %table runs )" +
           runs + R"( : memref<?x4xf32>, memref<?x?xi32> -> !tile.tile<m 6, f32>
      tile.store %x, %out[%c0] axes ["m"] : !tile.tile<m 6, f32> -> memref<6xf32>
      return
    })";
  };
  TestMemory pool = numbered(ElementType::f32, 5, 4), table(ElementType::i32, {2, 3}, {4, 0, 9, 2, 3, 9});
  TestMemory out(ElementType::f32, {6}, 7.0);
  ASSERT_EQ(runProgram(program("1"), {pool.view(), table.view(), 0, 1, 6, out.view()}), "");
  EXPECT_EQ(out.values(), (Values{17, 18, 19, 0, 1, 2}));
  ASSERT_EQ(runProgram(program("2"), {pool.view(), table.view(), 1, 2, 3, out.view()}), "");
  EXPECT_EQ(out.values(), (Values{10, 11, 12, 0, 0, 0}));
  // Entries beyond the limits are not read.
  ASSERT_EQ(runProgram(program("2"), {pool.view(), table.view(), 1, 6, 2, out.view()}), "");
  EXPECT_EQ(out.values(), (Values{14, 15, 0, 0, 0, 0}));

  std::string error = runProgram(program("2"), {pool.view(), table.view(), 1, 3, 3, out.view()});
  EXPECT_TRUE(contains(error, "expected a multiple of runs = 2 as second index, got 3")) << error;
  error = runProgram(program("2"), {pool.view(), table.view(), 1, 6, 3, out.view()});
  EXPECT_TRUE(contains(error, "dimension 0 has elements 0 to 4, accessed are 9 to 9")) << error;
  error = runProgram(program("2"), {pool.view(), table.view(), 2, 0, 1, out.view()});
  EXPECT_TRUE(contains(error, "the table of pages: out of bounds: dimension 0 has elements 0 to 1")) << error;
}

TEST(Memory, AListOfPagesIsATableOfOverlappingRows) {
  // The token 5 of request %b, in pages of 4 numbers.
  const std::string program = R"(
    func.func @main(%pool: memref<?x4xf32>, %table: memref<?x?xi32, strided<[?, ?]>>, %starts: memref<?xi32>, %b: index,
                    %out: memref<1xf32>) {
      %c0 = arith.constant 0 : index
      %c5 = arith.constant 5 : index
      %row = tile.table_row %starts[%b] : memref<?xi32>
      %x = tile.load %pool[%row, %c5] axes ["", "m"] pages %table runs 1
        : memref<?x4xf32>, memref<?x?xi32, strided<[?, ?]>> -> !tile.tile<m 1, f32>
      tile.store %x, %out[%c0] axes ["m"] : !tile.tile<m 1, f32> -> memref<1xf32>
      return
    })";
  TestMemory pool = numbered(ElementType::f32, 5, 4), out(ElementType::f32, {1});
  TestMemory list(ElementType::i32, {5, 1}, {9, 4, 2, 3, 0}), starts(ElementType::i32, {3}, {1, 3, 5});
  MemoryView rows = list.view();
  rows.shape[1] = 2;
  rows.strides = {1, 1};
  for (const auto &[request, expected] : {std::pair(0, 2 * 4 + 1), {1, 0 * 4 + 1}}) {
    ASSERT_EQ(runProgram(program, {pool.view(), rows, starts.view(), request, out.view()}), "");
    EXPECT_EQ(out.values(), (Values{static_cast<double>(expected)}));
  }
  std::string error = runProgram(program, {pool.view(), rows, starts.view(), 3, out.view()});
  EXPECT_TRUE(contains(error, "tile.table_row: out of bounds: dimension 0 has elements 0 to 2")) << error;
  // Without starts rows are requests.
  TestMemory table(ElementType::i32, {2, 2}, {9, 4, 2, 3}), none(ElementType::i32, {0});
  ASSERT_EQ(runProgram(program, {pool.view(), table.view(), none.view(), 1, out.view()}), "");
  EXPECT_EQ(out.values(), (Values{3 * 4 + 1}));
}

TEST(Memory, PagesHoldBlocks) {
  // Pages of two blocks of 2 tokens, 3 features each: a store from token 1 on.
  std::string program = R"(
    func.func @main(%pool: memref<?x2x3x2xf32>, %table: memref<?x?xi32>, %in: memref<4x3xf32>) {
      %c0 = arith.constant 0 : index
      %c1 = arith.constant 1 : index
      %x = tile.load %in[%c0, %c0] axes ["n", "d"] : memref<4x3xf32> -> !tile.tile<n 4, d 3, f32>
      tile.store %x, %pool[%c0, %c1, %c0, %c0] axes ["", "n", "d", "n"] pages %table runs 1
        : !tile.tile<n 4, d 3, f32> -> memref<?x2x3x2xf32>, memref<?x?xi32>
      return
    })";
  TestMemory pool(ElementType::f32, {2, 2, 3, 2}, -1.0), table(ElementType::i32, {1, 2}, {1, 0});
  ASSERT_EQ(runProgram(program, {pool.view(), table.view(), numbered(ElementType::f32, 4, 3).view()}), "");
  EXPECT_EQ(pool.values(), (Values{9,  -1, 10, -1, 11, -1, -1, -1, -1, -1, -1, -1, //
                                   -1, 0,  -1, 1,  -1, 2,  3,  6,  4,  7,  5,  8}));
}
