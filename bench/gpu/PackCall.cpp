// SPDX-License-Identifier: Apache-2.0

#include "bench/gpu/PackCall.h"

#include <stdexcept>

namespace tpac::device {

namespace {

int32_t numberOf(Phase phase) {
  switch (phase) {
  case Phase::append:
    return TPAC_APPEND;
  case Phase::decode:
    return TPAC_DECODE;
  case Phase::prefill:
    return TPAC_PREFILL;
  case Phase::merge:
    return TPAC_MERGE;
  default:
    throw std::invalid_argument("packs have no phase " + std::string(phaseName(phase)) + " that is called so");
  }
}

} // namespace

DeviceBuffer::~DeviceBuffer() {
  try {
    driver.release(pointer);
  } catch (const Failure &) {
    // After a kernel's fault every call fails; what says so is the exception that is under way.
  }
}

void require(int32_t status) {
  if (status != TPAC_SUCCESS)
    throw std::runtime_error(tpac_runtime_status_message(status));
}

PackKernels loadKernels(const tpac_pack *pack) {
  const tpac_kernels_config config = {sizeof(config), TPAC_CUDA, 0, 0};
  tpac_kernels *loaded = nullptr;
  require(tpac_kernels_create(pack, &config, &loaded));
  return {loaded, tpac_kernels_destroy};
}

PackCall::PackCall(const bench::Row &row, const PhaseSignature &signature, int64_t itsCapacity,
                   const std::function<DevicePointer(size_t)> &addressOf)
    : phase(numberOf(row.phase)), tokens(row.requests * row.tokens), requests(row.requests), capacity(itsCapacity) {
  words.push_back(0);
  for (const std::string &size : signature.sizes)
    words.push_back(size == "tokens"          ? tokens
                    : size == "batch"         ? requests
                    : size == "capacity"      ? capacity
                    : size == listedPagesName ? 0
                                              : requests * capacity / storageOf(signature).pageSize);
  for (size_t i = 0; i < signature.tensors.size(); ++i) {
    if (isCache(signature.tensors[i]))
      cacheWords.push_back(words.size());
    // Pages stand in a table, so there is no list of them, nor what says where it begins.
    const bool isAbsent = isCache(signature.tensors[i]) || signature.tensors[i].isOptional;
    words.push_back(isAbsent ? 0 : static_cast<int64_t>(addressOf(i)));
    words.push_back(0); // no strides: contiguous
  }
  words.resize(words.size() + optionalWords);
  words[0] = static_cast<int64_t>(words.size() * sizeof(int64_t));
}

size_t PackCall::workspaceBytes(const PackKernels &kernels) const {
  int64_t bytes = 0;
  require(tpac_kernels_workspace_size(kernels.get(), phase, tokens, requests, capacity, &bytes));
  return static_cast<size_t>(bytes);
}

std::string PackCall::launch(const PackKernels &kernels, DevicePointer cache, DevicePointer workspace,
                             size_t workspaceSize, void *stream) {
  for (size_t word : cacheWords)
    words[word] = static_cast<int64_t>(cache);
  words[words.size() - optionalWords + workspaceWord] = static_cast<int64_t>(workspace);
  words[words.size() - optionalWords + workspaceSizeWord] = static_cast<int64_t>(workspaceSize);
  const int32_t status = tpac_kernels_launch(kernels.get(), phase, words.data(), stream);
  if (status == TPAC_DEVICE_ERROR)
    throw Failure(tpac_runtime_status_message(status));
  return status == TPAC_SUCCESS ? "" : tpac_runtime_status_message(status);
}

} // namespace tpac::device
