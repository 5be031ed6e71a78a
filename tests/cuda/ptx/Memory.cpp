// SPDX-License-Identifier: Apache-2.0

#include "tests/cuda/ptx/Memory.h"

#include <cstring>
#include <map>
#include <utility>

namespace tpac::ptx {
namespace {

uint64_t addressOf(Warp &warp, const Instruction &instruction, size_t number, int lane) {
  return warp.lanes<uint64_t>(instruction.from[number])[lane] + static_cast<uint64_t>(instruction.offsets[number]);
}

template <typename T, typename R> void load(Warp &warp, const Instruction &instruction) {
  forActiveLanes(warp, [&](int lane) {
    const uint64_t address = addressOf(warp, instruction, 0, lane);
    const size_t bytes = sizeof(T) * instruction.count;
    const uint8_t *from =
        instruction.isShared ? warp.block.load(warp, address, bytes) : warp.block.global(warp, address, bytes);
    for (size_t i = 0; i < instruction.count; ++i) {
      T element;
      std::memcpy(&element, from + i * sizeof(T), sizeof(T));
      if (instruction.to[i] != noPlace)
        warp.lanes<R>(instruction.to[i])[lane] = static_cast<R>(element);
    }
  });
}

template <typename T, typename R> void store(Warp &warp, const Instruction &instruction) {
  forActiveLanes(warp, [&](int lane) {
    const uint64_t address = addressOf(warp, instruction, 0, lane);
    std::array<T, 4> elements;
    for (size_t i = 0; i < instruction.count; ++i)
      elements[i] = static_cast<T>(warp.lanes<R>(instruction.from[1 + i])[lane]);
    const size_t bytes = sizeof(T) * instruction.count;
    if (instruction.isShared)
      warp.block.store(warp, address, elements.data(), bytes);
    else
      std::memcpy(warp.block.global(warp, address, bytes), elements.data(), bytes);
  });
}

template <typename T> void loadParameter(Warp &warp, const Instruction &instruction) {
  T value;
  std::memcpy(&value, &warp.block.parameters[static_cast<size_t>(instruction.offsets[0])], sizeof(T));
  forActiveLanes(warp, [&](int lane) { warp.lanes<T>(instruction.to[0])[lane] = value; });
}

/// Four 8x8 matrices of 16-bit elements; lane l gives the address of row l % 8 of matrix l / 8, and gets elements 2 (l
/// % 4) and the next of row l / 4 of each (PTX ISA, ldmatrix).
template <bool transposed> void loadMatrices(Warp &warp, const Instruction &instruction) {
  uint16_t matrices[4][8][8];
  for (int lane = 0; lane < lanesOfWarp; ++lane) {
    constexpr size_t rowBytes = 16;
    std::memcpy(matrices[lane / 8][lane % 8], warp.block.load(warp, addressOf(warp, instruction, 0, lane), rowBytes),
                rowBytes);
  }
  for (size_t i = 0; i < 4; ++i)
    for (int lane = 0; lane < lanesOfWarp; ++lane) {
      const int row = lane / 4, column = 2 * (lane % 4);
      const auto &matrix = matrices[i];
      const uint16_t low = transposed ? matrix[column][row] : matrix[row][column];
      const uint16_t high = transposed ? matrix[column + 1][row] : matrix[row][column + 1];
      warp.lanes<uint32_t>(instruction.to[i])[lane] = uint32_t(high) << 16 | low;
    }
}

// --- Copies by lanes (cp.async)

void copyLanes(Warp &warp, const Instruction &instruction) {
  forActiveLanes(warp, [&](int lane) {
    warp.block.copyLane(warp, lane, addressOf(warp, instruction, 0, lane), addressOf(warp, instruction, 1, lane),
                        warp.lanes<uint32_t>(instruction.from[2])[lane]);
  });
}

void commitCopies(Warp &warp, const Instruction &) {
  forActiveLanes(warp, [&](int lane) { ++warp.committed[static_cast<size_t>(lane)]; });
}

void waitCopies(Warp &warp, const Instruction &instruction) {
  forActiveLanes(
      warp, [&](int lane) { warp.block.waitForCopies(warp, lane, warp.lanes<uint32_t>(instruction.from[0])[lane]); });
}

// --- Barriers

void syncAll(Warp &warp, const Instruction &instruction) {
  warp.block.arriveAtBarrier(warp, warp.lanes<uint32_t>(instruction.from[0])[0],
                             static_cast<uint32_t>(warp.block.warpCount()) * lanesOfWarp);
}

void syncSome(Warp &warp, const Instruction &instruction) {
  warp.block.arriveAtBarrier(warp, warp.lanes<uint32_t>(instruction.from[0])[0],
                             warp.lanes<uint32_t>(instruction.from[1])[0]);
}

void initBarrier(Warp &warp, const Instruction &instruction) {
  forActiveLanes(warp, [&](int lane) {
    warp.block.initBarrier(warp, addressOf(warp, instruction, 0, lane),
                           warp.lanes<uint32_t>(instruction.from[1])[lane]);
  });
}

/// Whether bytes are expected besides: their number is what is read first.
template <bool expectsBytes> void arrive(Warp &warp, const Instruction &instruction) {
  forActiveLanes(warp, [&](int lane) {
    const uint32_t bytes = expectsBytes ? warp.lanes<uint32_t>(instruction.from[1])[lane] : 0;
    const uint64_t phase = warp.block.arrive(warp, addressOf(warp, instruction, 0, lane), bytes);
    if (instruction.to[0] != noPlace)
      warp.lanes<uint64_t>(instruction.to[0])[lane] = phase;
  });
}

template <typename Phase> void tryWait(Warp &warp, const Instruction &instruction) {
  forActiveLanes(warp, [&](int lane) {
    const bool hasEnded = warp.block.hasEnded(warp, addressOf(warp, instruction, 0, lane),
                                              warp.lanes<Phase>(instruction.from[1])[lane], sizeof(Phase) == 4);
    warp.lanes<uint8_t>(instruction.to[0])[lane] = hasEnded;
    warp.isRetried |= !hasEnded;
  });
}

void copyBulk(Warp &warp, const Instruction &instruction) {
  forActiveLanes(warp, [&](int lane) {
    warp.block.copyBulk(warp, addressOf(warp, instruction, 0, lane), addressOf(warp, instruction, 1, lane),
                        warp.lanes<uint32_t>(instruction.from[3])[lane], addressOf(warp, instruction, 2, lane));
  });
}

/// How long bytes stay in L2: there is none.
void createPolicy(Warp &warp, const Instruction &instruction) {
  forActiveLanes(warp, [&](int lane) { warp.lanes<uint64_t>(instruction.to[0])[lane] = 0; });
}

template <typename T> Execute loadTo(int64_t registerBytes) {
  if (registerBytes == 2 && sizeof(T) <= 2)
    return load<T, uint16_t>;
  if (registerBytes == 4 && sizeof(T) <= 4)
    return load<T, uint32_t>;
  return registerBytes == 8 ? load<T, uint64_t> : nullptr;
}

template <typename T> Execute storeFrom(int64_t registerBytes) {
  if (registerBytes == 2 && sizeof(T) <= 2)
    return store<T, uint16_t>;
  if (registerBytes == 4 && sizeof(T) <= 4)
    return store<T, uint32_t>;
  return registerBytes == 8 ? store<T, uint64_t> : nullptr;
}

} // namespace

Execute loadOf(int64_t bytes, bool isSigned, int64_t registerBytes) {
  switch (bytes) {
  case 1:
    return isSigned ? loadTo<int8_t>(registerBytes) : loadTo<uint8_t>(registerBytes);
  case 2:
    return isSigned ? loadTo<int16_t>(registerBytes) : loadTo<uint16_t>(registerBytes);
  case 4:
    return isSigned ? loadTo<int32_t>(registerBytes) : loadTo<uint32_t>(registerBytes);
  default:
    return loadTo<uint64_t>(registerBytes);
  }
}

Execute storeOf(int64_t bytes, int64_t registerBytes) {
  switch (bytes) {
  case 1:
    return storeFrom<uint8_t>(registerBytes);
  case 2:
    return storeFrom<uint16_t>(registerBytes);
  case 4:
    return storeFrom<uint32_t>(registerBytes);
  default:
    return storeFrom<uint64_t>(registerBytes);
  }
}

Execute loadParameterOf(int64_t bytes) { return bytes == 4 ? loadParameter<uint32_t> : loadParameter<uint64_t>; }

const MemoryOperation *findMemoryOperation(std::string_view opcode, size_t operands) {
  static const std::map<std::pair<std::string_view, size_t>, MemoryOperation> table = {
      {{"ldmatrix.sync.aligned.m8n8.x4.shared.b16", 5}, {loadMatrices<false>, Flow::together, "wwwwa", {4, 4, 4, 4}}},
      {{"ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16", 5},
       {loadMatrices<true>, Flow::together, "wwwwa", {4, 4, 4, 4}}},
      {{"cp.async.cg.shared.global", 3}, {copyLanes, Flow::next, "aar", {4}}},
      {{"cp.async.commit_group", 0}, {commitCopies, Flow::next, ""}},
      {{"cp.async.wait_group", 1}, {waitCopies, Flow::next, "r", {4}}},
      {{"cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes.L2::cache_hint", 5},
       {copyBulk, Flow::next, "aarar", {4, 8}}},
      {{"createpolicy.fractional.L2::evict_first.b64", 2}, {createPolicy, Flow::next, "wr", {8, 4}}},
      {{"bar.sync", 1}, {syncAll, Flow::barrier, "r", {4}}},
      {{"bar.sync", 2}, {syncSome, Flow::barrier, "rr", {4, 4}}},
      {{"mbarrier.init.shared.b64", 2}, {initBarrier, Flow::next, "ar", {4}}},
      {{"mbarrier.arrive.shared.b64", 2}, {arrive<false>, Flow::next, "wa", {8}}},
      {{"mbarrier.arrive.expect_tx.shared.b64", 3}, {arrive<true>, Flow::next, "war", {8, 4}}},
      {{"mbarrier.try_wait.parity.shared.b64", 3}, {tryWait<uint32_t>, Flow::poll, "war", {1, 4}}},
      {{"mbarrier.try_wait.shared.b64", 3}, {tryWait<uint64_t>, Flow::poll, "war", {1, 8}}},
  };
  auto found = table.find({opcode, operands});
  return found == table.end() ? nullptr : &found->second;
}

} // namespace tpac::ptx
