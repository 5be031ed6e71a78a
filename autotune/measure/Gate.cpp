// SPDX-License-Identifier: Apache-2.0

#include "autotune/measure/Gate.h"

#include "lowering/execute/Executable.h"
#include "safetensors/Convert.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <stdexcept>

namespace tpac::autotune {

namespace {

/// NaN in every floating-point type that outputs have.
constexpr std::byte poison{0xff};

/// E4M3 without infinities.
double valueOfF8(uint8_t bits) {
  const int exponent = bits >> 3 & 15, mantissa = bits & 7;
  double value = (bits & 127) == 127 ? NAN
                 : exponent          ? std::ldexp(8 + mantissa, exponent - 10)
                                     : std::ldexp(mantissa, -9);
  return bits >> 7 ? -value : value;
}

template <typename Element, typename Value>
std::vector<double> valuesOf(std::span<const std::byte> bytes, Value valueOf) {
  std::vector<double> values(bytes.size() / sizeof(Element));
  for (size_t i = 0; i < values.size(); ++i) {
    Element element;
    std::memcpy(&element, &bytes[i * sizeof(Element)], sizeof(Element));
    values[i] = valueOf(element);
  }
  return values;
}

/// All elements of a tensor, as they lie.
std::vector<double> valuesOf(const bench::Workload::Memory &tensor) {
  const std::span<const std::byte> bytes = tensor.bytes;
  auto floats = [&](safetensors::Dtype dtype) {
    return safetensors::toDouble({dtype, {static_cast<int64_t>(bytes.size() / dtypeSize(dtype))}, bytes});
  };
  auto asIs = [](auto value) { return static_cast<double>(value); };
  switch (tensor.spec->elementType) {
  case ElementType::f64:
    return floats(safetensors::Dtype::F64);
  case ElementType::f32:
    return floats(safetensors::Dtype::F32);
  case ElementType::bf16:
    return floats(safetensors::Dtype::BF16);
  case ElementType::f16:
    return floats(safetensors::Dtype::F16);
  case ElementType::i8:
    return valuesOf<int8_t>(bytes, asIs);
  case ElementType::i32:
    return valuesOf<int32_t>(bytes, asIs);
  case ElementType::f8E4M3FN:
    return valuesOf<uint8_t>(bytes, valueOfF8);
  }
  throw std::invalid_argument("element type without values");
}

/// Root of the sum of squared differences by that of the squares of what is expected. Much of what a rounding to the
/// type allows, and far below what a wrong mask, rank or head makes of it.
double limitOf(ElementType type) {
  switch (type) {
  case ElementType::f64:
    return 1e-9;
  case ElementType::f32:
    return 1e-4;
  case ElementType::i8:
  case ElementType::f8E4M3FN:
    return 0.1;
  default:
    return 1e-2;
  }
}

/// Where elements of a cache lie: token by token, or feature by feature in blocks of tokens.
class CacheOrder {
public:
  CacheOrder(const bench::Workload::Memory &tensor, int64_t requests)
      : size(elementSize(tensor.spec->elementType)),
        block(tensor.spec->shape.size() > 4 ? tensor.spec->shape[4].size : 1) {
    for (size_t i = 2; i < std::min<size_t>(tensor.spec->shape.size(), 4); ++i)
      width *= tensor.spec->shape[i].size;
    capacity = static_cast<int64_t>(tensor.bytes.size()) / size / width / requests;
  }

  /// Elements, or bytes, from the first element.
  size_t number(int64_t request, int64_t token, int64_t element) const {
    const int64_t row = request * capacity + token;
    return static_cast<size_t>((row / block * width + element) * block + row % block);
  }
  size_t offset(int64_t request, int64_t token, int64_t element) const {
    return number(request, token, element) * static_cast<size_t>(size);
  }

  int64_t size, block, width = 1, capacity = 0;
};

} // namespace

/// A call in memory of its own, which starts each call as it is kept here.
struct Gate::Probe {
  Probe(const bench::Row &row, const PhaseSignature &signature)
      : row(row), team(1), workload(row, signature, arena, team, /*poolBytes=*/1, int64_t(1) << 30),
        tensors(workload.memory(0)) {}

  /// Keeps the present inputs; outputs and elements of caches that no token has are poisoned before.
  void keep() {
    for (const bench::Workload::Memory &tensor : tensors)
      if (tensor.spec->access == Access::out)
        std::ranges::fill(tensor.bytes, poison);
    start.assign(arena.allocated().begin(), arena.allocated().end());
  }

  /// Takes the inputs of a probe of the same sizes whose caches are stored in another way.
  void copyInputs(const Probe &other) {
    for (size_t i = 0; i < tensors.size(); ++i)
      if (isCache(*tensors[i].spec)) {
        std::ranges::fill(tensors[i].bytes, poison);
        copyCache(other.tensors[i], tensors[i]);
      } else {
        std::ranges::copy(other.tensors[i].bytes, tensors[i].bytes.begin());
      }
  }

  void copyCache(const bench::Workload::Memory &from, const bench::Workload::Memory &to) const {
    CacheOrder source(from, row.requests), target(to, row.requests);
    const int64_t tokens = std::min(source.capacity, target.capacity);
    for (int64_t request = 0; request < row.requests; ++request)
      for (int64_t token = 0; token < tokens; ++token)
        for (int64_t element = 0; element < source.width; ++element)
          std::memcpy(&to.bytes[target.offset(request, token, element)],
                      &from.bytes[source.offset(request, token, element)], static_cast<size_t>(source.size));
  }

  std::string call(const bench::Kernel &kernel) {
    std::ranges::copy(start, arena.allocated().begin());
    if (int32_t status = workload.call(kernel.function, 0))
      return "status " + std::to_string(status) + ": " + kernel.statusMessage(status);
    return "";
  }

  /// Whether bytes changed since `keep` that are no output's.
  bool changedOthers() const {
    std::vector<std::byte> after(arena.allocated().begin(), arena.allocated().end());
    for (const bench::Workload::Memory &tensor : tensors)
      if (tensor.spec->access != Access::in) {
        auto offset = tensor.bytes.data() - arena.allocated().data();
        std::copy_n(start.begin() + offset, tensor.bytes.size(), after.begin() + offset);
      }
    return after != start;
  }

  /// How far the outputs are from those of `expected`, "" where they are near enough.
  std::string difference(const Probe &expected) const {
    for (size_t i = 0; i < tensors.size(); ++i)
      if (tensors[i].spec->access != Access::in)
        if (std::string problem = difference(tensors[i], expected.tensors[i]); !problem.empty())
          return row.name() + ": " + tensors[i].spec->name + ": " + problem;
    return "";
  }

  std::string difference(const bench::Workload::Memory &tensor, const bench::Workload::Memory &expected) const {
    const ElementType type = tensor.spec->elementType;
    const std::vector<double> allFound = valuesOf(tensor), allWanted = valuesOf(expected);
    double error = 0, size = 0;
    bool isFinite = true;
    auto compare = [&](size_t at, size_t expectedAt) {
      const double found = allFound[at], wanted = allWanted[expectedAt];
      // What the reference path leaves as NaN, or makes infinite, a candidate must, too.
      isFinite &= std::isfinite(wanted) == std::isfinite(found) && std::isnan(wanted) == std::isnan(found);
      if (std::isfinite(wanted)) {
        error += (found - wanted) * (found - wanted);
        size += wanted * wanted;
      }
    };
    if (isCache(*tensor.spec)) {
      CacheOrder order(tensor, row.requests), expectedOrder(expected, row.requests);
      for (int64_t request = 0; request < row.requests; ++request)
        for (int64_t token = 0; token < std::min(order.capacity, expectedOrder.capacity); ++token)
          for (int64_t element = 0; element < order.width; ++element)
            compare(order.number(request, token, element), expectedOrder.number(request, token, element));
    } else {
      for (size_t at = 0; at < allWanted.size(); ++at)
        compare(at, at);
    }
    if (!isFinite)
      return "finite where it should not be, or the other way around";
    if (std::sqrt(error) > limitOf(type) * std::sqrt(size))
      return "relative error " + std::to_string(std::sqrt(error / size)) + "; expected at most " +
             std::to_string(limitOf(type));
    return "";
  }

  bench::Row row;
  bench::Arena arena;
  bench::ThreadTeam team;
  bench::Workload workload;
  std::vector<bench::Workload::Memory> tensors;
  std::vector<std::byte> start;
  /// The same call by the reference path, after it.
  std::unique_ptr<Probe> expected;
};

Gate::Gate(const bench::Row &row, const PhaseSignature &signature) {
  // The reference path stores caches token by token.
  std::unique_ptr<Executable> reference =
      Executable::compile(row.variant.dump(), std::span(&row.phase, 1), CodePath::reference, "host", /*valueBlock=*/0,
                          storageOf(signature).pageSize);
  bench::Kernel kernel = {reference->signature(row.phase), reference->function(row.phase),
                          [&](int32_t status) { return reference->statusMessage(row.phase, status); }};
  // {cached, tokens}: one query over several blocks and a tail; several queries over a tail alone.
  const std::pair<int64_t, int64_t> decodes[] = {{333, 1}, {7, 3}}, prefills[] = {{101, 101}, {150, 37}},
                                    appends[] = {{37, 37}, {150, 5}}, merges[] = {{0, 19}, {0, 1}};
  auto sizes = row.phase == Phase::decode    ? std::span(decodes)
               : row.phase == Phase::prefill ? std::span(prefills)
               : row.phase == Phase::append  ? std::span(appends)
                                             : std::span(merges);
  for (auto [cached, tokens] : sizes) {
    bench::Row small = row;
    small.cached = cached;
    small.tokens = tokens;
    small.requests = 2;
    small.threads = 1;
    auto probe = std::make_unique<Probe>(small, signature);
    probe->expected = std::make_unique<Probe>(small, kernel.signature);
    probe->copyInputs(*probe->expected);
    probe->keep();
    probe->expected->keep();
    if (std::string problem = probe->expected->call(kernel); !problem.empty())
      throw std::runtime_error("the reference path of " + small.name() + ": " + problem);
    probes.push_back(std::move(probe));
  }
}

Gate::~Gate() = default;

std::string Gate::problemWith(const bench::Kernel &kernel) const {
  for (const std::unique_ptr<Probe> &probe : probes) {
    if (std::string problem = probe->call(kernel); !problem.empty())
      return problem;
    if (std::string problem = probe->difference(*probe->expected); !problem.empty())
      return problem;
    if (probe->changedOthers())
      return probe->row.name() + ": memory changed that is no output's";
    std::vector<std::byte> first(probe->arena.allocated().begin(), probe->arena.allocated().end());
    if (std::string problem = probe->call(kernel); !problem.empty())
      return problem;
    if (!std::ranges::equal(first, probe->arena.allocated()))
      return probe->row.name() + ": called again, it gives other bits";
  }
  return "";
}

} // namespace tpac::autotune
