// SPDX-License-Identifier: Apache-2.0

#include "autotune/measure/Gate.h"

#include "autotune/measure/Deviation.h"

#include <algorithm>
#include <cstring>

namespace tpac::autotune {

namespace {

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
  void copyInputs(const ReferenceCall &other) {
    for (size_t i = 0; i < tensors.size(); ++i)
      if (isCache(*tensors[i].spec)) {
        std::ranges::fill(tensors[i].bytes, poison);
        copyCache(other.tensors[i], other.input(i), tensors[i]);
      } else {
        std::ranges::copy(other.input(i), tensors[i].bytes.begin());
      }
  }

  void copyCache(const bench::Workload::Memory &from, std::span<const std::byte> bytes,
                 const bench::Workload::Memory &to) const {
    CacheOrder source(from, row.requests), target(to, row.requests);
    const int64_t tokens = std::min(source.capacity, target.capacity);
    for (int64_t request = 0; request < row.requests; ++request)
      for (int64_t token = 0; token < tokens; ++token)
        for (int64_t element = 0; element < source.width; ++element)
          std::memcpy(&to.bytes[target.offset(request, token, element)], &bytes[source.offset(request, token, element)],
                      static_cast<size_t>(source.size));
  }

  std::string call(const bench::Kernel &kernel) {
    std::ranges::copy(start, arena.allocated().begin());
    const size_t scratch = static_cast<size_t>(kernel.signature.scratch);
    scratchMemory.reset(kernel.signature.scratch + guardBytes);
    std::span<std::byte> guarded(scratchMemory.allocate(kernel.signature.scratch + guardBytes), scratch + guardBytes);
    std::ranges::fill(guarded, poison);
    if (int32_t status = workload.call(kernel.function, 0, guarded.first(scratch)))
      return "status " + std::to_string(status) + ": " + kernel.statusMessage(status);
    if (std::ranges::any_of(guarded.subspan(scratch), [](std::byte byte) { return byte != poison; }))
      return row.name() + ": memory changed behind the scratch";
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
  std::string difference(const ReferenceCall &expected) const {
    for (size_t i = 0; i < tensors.size(); ++i)
      if (tensors[i].spec->access != Access::in)
        if (std::string problem = difference(tensors[i], expected.tensors[i]); !problem.empty())
          return row.name() + ": " + tensors[i].spec->name + ": " + problem;
    return "";
  }

  std::string difference(const bench::Workload::Memory &tensor, const bench::Workload::Memory &expected) const {
    const std::vector<double> found = valuesOf(tensor.spec->elementType, tensor.bytes),
                              wanted = valuesOf(tensor.spec->elementType, expected.bytes);
    Deviation deviation(tensor.spec->elementType);
    if (isCache(*tensor.spec)) {
      CacheOrder order(tensor, row.requests), expectedOrder(expected, row.requests);
      for (int64_t request = 0; request < row.requests; ++request)
        for (int64_t token = 0; token < std::min(order.capacity, expectedOrder.capacity); ++token)
          for (int64_t element = 0; element < order.width; ++element)
            deviation.add(found[order.number(request, token, element)],
                          wanted[expectedOrder.number(request, token, element)]);
    } else {
      for (size_t at = 0; at < wanted.size(); ++at)
        deviation.add(found[at], wanted[at]);
    }
    return deviation.problem();
  }

  static constexpr int64_t guardBytes = 64;

  bench::Row row;
  bench::Arena arena, scratchMemory;
  bench::ThreadTeam team;
  bench::Workload workload;
  std::vector<bench::Workload::Memory> tensors;
  std::vector<std::byte> start;
  /// The same call by the reference path, after it.
  const ReferenceCall *expected = nullptr;
};

Gate::Gate(const ReferenceCalls &references, const PhaseSignature &signature) {
  for (const std::unique_ptr<ReferenceCall> &reference : references.calls) {
    auto probe = std::make_unique<Probe>(reference->row, signature);
    probe->expected = reference.get();
    probe->copyInputs(*reference);
    probe->keep();
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
