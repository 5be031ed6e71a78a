// SPDX-License-Identifier: Apache-2.0

#include "autotune/measure/ReferenceCalls.h"

#include "autotune/measure/Artifact.h"
#include "lowering/emit/Manifest.h"
#include "lowering/execute/Executable.h"

#include <algorithm>
#include <stdexcept>

namespace tpac::autotune {

ReferenceCall::ReferenceCall(const bench::Row &row, const PhaseSignature &signature)
    : row(row), team(1), workload(row, signature, arena, team, /*poolBytes=*/1, int64_t(1) << 30),
      tensors(workload.memory(0)) {
  for (const bench::Workload::Memory &tensor : tensors)
    if (tensor.spec->access == Access::out)
      std::ranges::fill(tensor.bytes, poison);
  start.assign(arena.allocated().begin(), arena.allocated().end());
}

std::span<const std::byte> ReferenceCall::input(size_t index) const {
  const std::span<std::byte> bytes = tensors[index].bytes;
  return std::span(start).subspan(static_cast<size_t>(bytes.data() - arena.allocated().data()), bytes.size());
}

std::string ReferenceCall::outputs() const {
  std::string all;
  for (const bench::Workload::Memory &tensor : tensors)
    if (tensor.spec->access != Access::in)
      all.append(reinterpret_cast<const char *>(tensor.bytes.data()), tensor.bytes.size());
  return all;
}

void ReferenceCall::setOutputs(const std::string &bytes) {
  if (const size_t expected = outputs().size(); bytes.size() != expected)
    throw std::runtime_error("results of " + row.name() + ": found " + std::to_string(bytes.size()) +
                             " bytes; expected " + std::to_string(expected));
  const char *next = bytes.data();
  for (const bench::Workload::Memory &tensor : tensors)
    if (tensor.spec->access != Access::in) {
      std::copy_n(next, tensor.bytes.size(), reinterpret_cast<char *>(tensor.bytes.data()));
      next += tensor.bytes.size();
    }
}

ReferenceCalls::ReferenceCalls(const bench::Row &row, int64_t pageSize)
    : pageSize(pageSize), signature(signatureOf(row, {0, pageSize})) {
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
    calls.push_back(std::make_unique<ReferenceCall>(small, signature));
  }
}

void ReferenceCalls::compute() {
  const bench::Row &row = calls.front()->row;
  std::unique_ptr<Executable> reference = Executable::compile(row.variant.dump(), std::span(&row.phase, 1),
                                                              CodePath::reference, "host", /*valueBlock=*/0, pageSize);
  for (const std::unique_ptr<ReferenceCall> &call : calls)
    if (int32_t status = call->workload.call(reference->function(row.phase), 0))
      throw std::runtime_error("the reference path of " + call->row.name() + ": status " + std::to_string(status) +
                               ": " + reference->statusMessage(row.phase, status));
}

std::string ReferenceCalls::inputsHash() const {
  std::string hashes;
  for (const std::unique_ptr<ReferenceCall> &call : calls)
    for (const bench::Workload::Memory &tensor : call->tensors)
      if (tensor.spec->access == Access::in)
        hashes += sha256({reinterpret_cast<const char *>(tensor.bytes.data()), tensor.bytes.size()});
  return sha256(hashes);
}

} // namespace tpac::autotune
