// SPDX-License-Identifier: Apache-2.0

#include "tests/cuda/ptx/Machine.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <thread>

namespace tpac::ptx {
namespace {

constexpr uint8_t undefined = 0xff;

std::string hex(uint64_t value) {
  char text[24];
  std::snprintf(text, sizeof(text), "0x%llx", static_cast<unsigned long long>(value));
  return text;
}

} // namespace

// --- Memory ---

void *GlobalMemory::allocate(size_t bytes) {
  constexpr size_t alignment = 256;
  const size_t size = (std::max<size_t>(bytes, 1) + alignment - 1) / alignment * alignment;
  void *pointer = std::aligned_alloc(alignment, size);
  if (pointer) {
    std::memset(pointer, undefined, size);
    add(pointer, bytes);
  }
  return pointer;
}

bool GlobalMemory::release(void *pointer) {
  if (ranges.erase(reinterpret_cast<uint64_t>(pointer)) == 0)
    return false;
  std::free(pointer);
  return true;
}

void GlobalMemory::add(const void *begin, size_t bytes) { ranges[reinterpret_cast<uint64_t>(begin)] = bytes; }
void GlobalMemory::remove(const void *begin) { ranges.erase(reinterpret_cast<uint64_t>(begin)); }

bool GlobalMemory::contains(uint64_t address, size_t bytes) const {
  auto behind = ranges.upper_bound(address);
  if (behind == ranges.begin())
    return false;
  const auto &[begin, size] = *std::prev(behind);
  return address - begin <= size && bytes <= size - (address - begin);
}

// --- Races ---

void Clock::set(size_t agent, uint32_t time) {
  if (agent >= times.size())
    times.resize(agent + 1, 0);
  times[agent] = time;
}

void Clock::join(const Clock &other) {
  if (other.times.size() > times.size())
    times.resize(other.times.size(), 0);
  for (size_t i = 0; i < other.times.size(); ++i)
    times[i] = std::max(times[i], other.times[i]);
}

std::optional<size_t> Accesses::read(size_t warp, const Clock &clock, size_t offset, size_t bytes) {
  const uint32_t time = clock[warp];
  for (size_t cell = offset / 2; cell < cells(offset + bytes); ++cell) {
    if (writes[cell].time > clock[writes[cell].agent])
      return writes[cell].agent;
    reads[cell * warps + warp] = time;
  }
  return std::nullopt;
}

std::optional<size_t> Accesses::write(size_t agent, uint32_t time, const Clock &clock, size_t offset, size_t bytes,
                                      bool isSame) {
  for (size_t cell = offset / 2; cell < cells(offset + bytes); ++cell) {
    const bool isKnown = writes[cell].time <= clock[writes[cell].agent];
    if (!isSame && !isKnown)
      return writes[cell].agent;
    for (size_t reader = 0; reader < warps; ++reader)
      if (reads[cell * warps + reader] > clock[reader])
        return reader;
    if (isKnown)
      writes[cell] = {static_cast<uint32_t>(agent), time};
  }
  return std::nullopt;
}

// --- Warps ---

Warp::Warp(Block &block, const Program &program, uint32_t number, uint32_t lanesInIt)
    : block(block), number(number), alive(lanesInIt == lanesOfWarp ? allLanes : (1u << lanesInIt) - 1),
      program(program), registers(program.registers), groups{{alive, 0}} {
  clock.tick(number);
  auto set = [&](uint32_t place, auto value) {
    if (place != noPlace)
      for (int lane = 0; lane < lanesOfWarp; ++lane)
        lanes<uint32_t>(place)[lane] = value(static_cast<uint32_t>(lane));
  };
  set(program.special.thread, [&](uint32_t lane) { return number * lanesOfWarp + lane; });
  set(program.special.lane, [&](uint32_t lane) { return lane; });
  set(program.special.block, [&](uint32_t) { return block.number; });
  set(program.special.blocks, [&](uint32_t) { return block.shape.blocks; });
  set(program.special.threads, [&](uint32_t) { return block.shape.threads; });
}

void Warp::fail(const std::string &message) const {
  const Instruction &instruction = program.code[at];
  throw Fault(program.name + ", block " + std::to_string(block.number) + ", warp " + std::to_string(number) +
              ", line " + std::to_string(instruction.line) + " (" + program.texts[at] + "): " + message);
}

uint32_t Warp::guarded(const Instruction &instruction, uint32_t mask) {
  if (instruction.guard == noPlace)
    return mask;
  uint32_t set = 0;
  const uint8_t *predicate = lanes<uint8_t>(instruction.guard);
  for (int lane = 0; lane < lanesOfWarp; ++lane)
    set |= uint32_t(predicate[lane]) << lane;
  return mask & (instruction.isGuardNegated ? ~set : set);
}

/// Lanes at the same instruction are one group again. Of those that can go on the one that is farthest behind; one that
/// polls in vain only where there is no other, and one that waits for the rest of the warp not before it is there.
Warp::Group *Warp::pick() {
  std::ranges::sort(groups, {}, &Group::at);
  for (size_t i = 0; i + 1 < groups.size();)
    if (groups[i].at == groups[i + 1].at) {
      groups[i].mask |= groups[i + 1].mask;
      if (!groups[i + 1].polledAt)
        groups[i].polledAt.reset();
      groups.erase(groups.begin() + static_cast<std::ptrdiff_t>(i) + 1);
    } else {
      ++i;
    }
  for (Group &group : groups) {
    const Flow flow = program.code[group.at].flow;
    const bool needsAll = flow == Flow::together || flow == Flow::barrier;
    if (!group.polledAt && (!needsAll || group.mask == alive))
      return &group;
  }
  return nullptr;
}

void Warp::run() {
  state = State::runs;
  for (Group &group : groups)
    group.polledAt.reset();
  while (state == State::runs) {
    if (groups.empty()) {
      state = State::ended;
      return;
    }
    Group *group = pick();
    if (!group) {
      state = State::polls;
      polledAt = block.events;
      bool polls = false;
      for (const Group &it : groups)
        if (it.polledAt) {
          polledAt = std::min(polledAt, *it.polledAt);
          polls = true;
        }
      at = groups.front().at;
      if (!polls)
        fail("lanes of the warp wait for each other at different places");
      return;
    }
    // The next group's place, where they meet.
    const size_t next = static_cast<size_t>(group - groups.data()) + 1;
    const uint32_t meeting = next < groups.size() ? groups[next].at : noPlace;
    while (step(*group) && group->at < meeting) {
    }
  }
}

/// One instruction of a group; false where another group's turn may have come.
bool Warp::step(Group &group) {
  at = group.at;
  const Instruction &instruction = program.code[at];
  constexpr uint64_t mostInstructions = 4'000'000'000;
  if (++block.executed > mostInstructions)
    fail("the block has executed " + std::to_string(mostInstructions) + " instructions; it does not seem to end");
  active = guarded(instruction, group.mask);
  switch (instruction.flow) {
  case Flow::next:
    if (active)
      instruction.execute(*this, instruction);
    break;
  case Flow::branch: {
    const uint32_t stay = group.mask & ~active;
    if (active && stay) {
      group.mask = stay;
      ++group.at;
      groups.push_back({active, instruction.target});
      return false;
    }
    group.at = active ? instruction.target : at + 1;
    return groups.size() == 1;
  }
  case Flow::exit:
    alive &= ~active;
    group.mask &= ~active;
    ++group.at;
    if (group.mask == 0)
      std::erase_if(groups, [](const Group &it) { return it.mask == 0; });
    return false;
  case Flow::together:
  case Flow::barrier:
    // Another group that has come along.
    if (group.mask != alive)
      return false;
    if (active != 0 && active != alive)
      fail("some lanes of the warp are to execute it, and others not");
    if (active)
      instruction.execute(*this, instruction);
    if (instruction.flow == Flow::barrier && active) {
      ++group.at;
      return false;
    }
    break;
  case Flow::poll:
    isRetried = false;
    if (active)
      instruction.execute(*this, instruction);
    if (isRetried) {
      group.polledAt = block.events;
      ++group.at;
      return false;
    }
    break;
  }
  ++group.at;
  return true;
}

// --- Thread blocks ---

Block::Block(const Program &program, const LaunchShape &shape, uint32_t number, const std::vector<uint8_t> &parameters,
             const GlobalMemory &memory, uint64_t seed)
    : parameters(parameters), shape(shape), number(number), program(program), memory(memory),
      storage(shape.sharedBytes + sharedBase, undefined), accesses(shape.sharedBytes, warpCount()),
      random(seed + number) {
  constexpr uintptr_t alignment = sharedBase;
  bytes = reinterpret_cast<uint8_t *>((reinterpret_cast<uintptr_t>(storage.data()) + alignment - 1) / alignment *
                                      alignment);
  for (uint32_t first = 0; first < shape.threads; first += lanesOfWarp)
    warps.emplace_back(*this, program, first / lanesOfWarp, std::min<uint32_t>(lanesOfWarp, shape.threads - first));
}

void Block::run() {
  for (;;) {
    std::vector<Warp *> ready;
    bool hasEnded = true;
    for (Warp &warp : warps) {
      hasEnded &= warp.state == Warp::State::ended;
      if (warp.state == Warp::State::runs || (warp.state == Warp::State::polls && warp.polledAt != events))
        ready.push_back(&warp);
    }
    if (hasEnded)
      break;
    // Now and then a copy is not the last to arrive.
    constexpr uint64_t seldom = 16;
    if (!copies.empty() && (ready.empty() || random() % seldom == 0)) {
      performCopy();
      continue;
    }
    if (ready.empty())
      stuck();
    ready[random() % ready.size()]->run();
  }
  const bool hasLaneCopies = std::ranges::any_of(warps, [](const Warp &warp) { return !warp.copies.empty(); });
  if (!copies.empty() || hasLaneCopies)
    throw Fault(program.name + ", block " + std::to_string(number) +
                ": a copy is under way when all threads have ended");
}

void Block::stuck() const {
  std::string message = program.name + ", block " + std::to_string(number) + ": no warp can go on:";
  for (const Warp &warp : warps)
    if (warp.state != Warp::State::ended)
      message += "\n  warp " + std::to_string(warp.number) + " waits at " + warp.place();
  throw Fault(message);
}

std::string Warp::place() const {
  std::string text;
  for (const Group &group : groups) {
    // A poll has been passed; the branch back to it is what lanes stand at.
    const Instruction &instruction = program.code[std::min<size_t>(group.at, program.code.size() - 1)];
    text += (text.empty() ? "line " : ", line ") + std::to_string(instruction.line);
  }
  return text;
}

// --- Accesses

uint64_t Block::offsetOf(const Warp &warp, uint64_t address, size_t size, size_t alignment) const {
  const uint64_t offset = address - sharedBase;
  if (offset > shape.sharedBytes || size > shape.sharedBytes - offset)
    warp.fail(std::to_string(size) + " bytes at " + hex(offset) + " of " + hex(shape.sharedBytes) +
              " bytes of shared memory");
  if (address % alignment != 0)
    warp.fail("address " + hex(address) + " is no multiple of " + std::to_string(alignment));
  return offset;
}

const uint8_t *Block::load(Warp &warp, uint64_t address, size_t size) {
  const uint64_t offset = offsetOf(warp, address, size, size);
  refuse(warp, accesses.read(warp.number, warp.clock, offset, size), offset, "read");
  return bytes + offset;
}

void Block::refuseBarrier(const Warp &warp, uint64_t address, size_t size) const {
  constexpr uint64_t barrierBytes = 8;
  auto behind = memoryBarriers.upper_bound(address + size - 1);
  if (behind != memoryBarriers.begin() && std::prev(behind)->first + barrierBytes > address)
    warp.fail("writes over the barrier at " + hex(std::prev(behind)->first - sharedBase));
}

void Block::store(Warp &warp, uint64_t address, const void *from, size_t size) {
  const uint64_t offset = offsetOf(warp, address, size, size);
  refuseBarrier(warp, address, size);
  const bool isSame = std::memcmp(bytes + offset, from, size) == 0;
  refuse(warp, accesses.write(warp.number, warp.clock[warp.number], warp.clock, offset, size, isSame), offset,
         "written");
  std::memcpy(bytes + offset, from, size);
}

uint8_t *Block::global(const Warp &warp, uint64_t address, size_t size) const {
  if (!memory.contains(address, size))
    warp.fail(std::to_string(size) + " bytes at " + hex(address) + ", which nobody has allocated");
  if (address % size != 0)
    warp.fail("address " + hex(address) + " is no multiple of " + std::to_string(size));
  return reinterpret_cast<uint8_t *>(address);
}

void Block::refuse(const Warp &warp, std::optional<size_t> other, uint64_t offset, const char *what) const {
  if (other)
    warp.fail("race: shared memory at " + hex(offset) + " is " + what + " while nothing orders it behind what " +
              (*other < warps.size() ? "warp " + std::to_string(*other) : "a bulk copy") + " did there");
}

// --- Barriers

void Block::arriveAtBarrier(Warp &warp, uint32_t id, uint32_t threadsOfBarrier) {
  if (id >= barriers.size())
    warp.fail("barrier " + std::to_string(id) + " of " + std::to_string(barriers.size()));
  NamedBarrier &barrier = barriers[id];
  if (barrier.waiting.empty())
    barrier.threads = threadsOfBarrier;
  if (threadsOfBarrier % lanesOfWarp != 0 || barrier.threads != threadsOfBarrier)
    warp.fail("barrier " + std::to_string(id) + " of " + std::to_string(threadsOfBarrier) + " threads; others of " +
              std::to_string(barrier.threads) + " wait at it");
  barrier.waiting.push_back(&warp);
  warp.state = Warp::State::waits;
  if (barrier.waiting.size() * lanesOfWarp < threadsOfBarrier)
    return;
  Clock all;
  for (Warp *waiting : barrier.waiting)
    all.join(waiting->clock);
  for (Warp *waiting : barrier.waiting) {
    waiting->clock = all;
    waiting->clock.tick(waiting->number);
    waiting->state = Warp::State::runs;
  }
  barrier.waiting.clear();
  ++events;
}

void Block::initBarrier(Warp &warp, uint64_t address, uint32_t arrivals) {
  memoryBarriers.erase(address);
  const uint64_t word = 0;
  store(warp, address, &word, sizeof(word));
  MemoryBarrier barrier;
  barrier.arrivals = barrier.pending = arrivals;
  barrier.maker = warp.number;
  barrier.made = warp.clock[warp.number];
  barrier.agent = warpCount() + nextAgent++;
  memoryBarriers.insert_or_assign(address, std::move(barrier));
}

Block::MemoryBarrier &Block::barrierAt(const Warp &warp, uint64_t address) {
  auto found = memoryBarriers.find(address);
  if (found == memoryBarriers.end())
    warp.fail("no barrier was made at " + hex(address - sharedBase));
  if (found->second.made > warp.clock[found->second.maker])
    warp.fail("race: nothing orders it behind the making of its barrier by warp " +
              std::to_string(found->second.maker));
  return found->second;
}

void Block::settle(MemoryBarrier &barrier) {
  ++events;
  if (barrier.pending != 0 || barrier.bytes != 0)
    return;
  barrier.pending = barrier.arrivals;
  ++barrier.phase;
  barrier.ended.join(barrier.arriving);
}

uint64_t Block::arrive(Warp &warp, uint64_t address, uint32_t expectedBytes) {
  MemoryBarrier &barrier = barrierAt(warp, address);
  if (barrier.pending == 0)
    warp.fail("more arrivals than the barrier's " + std::to_string(barrier.arrivals));
  const uint64_t phase = barrier.phase;
  barrier.bytes += expectedBytes;
  --barrier.pending;
  barrier.arriving.join(warp.clock);
  warp.clock.tick(warp.number);
  settle(barrier);
  return phase;
}

bool Block::hasEnded(Warp &warp, uint64_t address, uint64_t phase, bool isParity) {
  MemoryBarrier &barrier = barrierAt(warp, address);
  if (isParity ? barrier.phase % 2 == phase : barrier.phase == phase)
    return false;
  warp.clock.join(barrier.ended);
  return true;
}

// --- Copies

void Block::copyBulk(Warp &warp, uint64_t to, uint64_t from, uint32_t size, uint64_t barrierAddress) {
  constexpr uint32_t unit = 16;
  if (size % unit != 0 || from % unit != 0)
    warp.fail("a bulk copy of " + std::to_string(size) + " bytes from " + hex(from) + "; expected multiples of 16");
  MemoryBarrier &barrier = barrierAt(warp, barrierAddress);
  if (size == 0)
    return;
  const uint64_t offset = offsetOf(warp, to, size, unit);
  refuseBarrier(warp, to, size);
  if (!memory.contains(from, size))
    warp.fail(std::to_string(size) + " bytes from " + hex(from) + ", which nobody has allocated");
  // It begins behind what the warp knows of, and only its barrier says that it has ended.
  const uint32_t time = ++barrier.copies;
  refuse(warp, accesses.write(barrier.agent, time, warp.clock, offset, size), offset, "written by a bulk copy");
  std::memset(bytes + offset, undefined, size);
  copies.push_back({from, barrierAddress, static_cast<uint32_t>(offset), size, time});
}

void Block::performCopy() {
  const size_t i = random() % copies.size();
  const BulkCopy copy = copies[i];
  copies.erase(copies.begin() + static_cast<std::ptrdiff_t>(i));
  std::memcpy(bytes + copy.to, reinterpret_cast<const void *>(copy.from), copy.bytes);
  MemoryBarrier &barrier = memoryBarriers.at(copy.barrier);
  barrier.bytes -= copy.bytes;
  // Copies of a phase end together for who waits for it.
  if (copy.time > barrier.arriving[barrier.agent])
    barrier.arriving.set(barrier.agent, copy.time);
  settle(barrier);
}

void Block::copyLane(Warp &warp, int lane, uint64_t to, uint64_t from, uint32_t size) {
  global(warp, from, size);
  const std::vector<uint8_t> nothing(size, undefined);
  store(warp, to, nothing.data(), size);
  warp.copies.push_back(
      {lane, warp.committed[static_cast<size_t>(lane)], from, static_cast<uint32_t>(to - sharedBase), size});
}

void Block::waitForCopies(Warp &warp, int lane, uint32_t pending) {
  const uint32_t committed = warp.committed[static_cast<size_t>(lane)];
  std::erase_if(warp.copies, [&](const Warp::LaneCopy &copy) {
    if (copy.lane != lane || copy.group + pending >= committed)
      return false;
    // It is written now: what was ordered behind its beginning is not ordered behind it.
    refuse(warp, accesses.write(warp.number, warp.clock[warp.number], warp.clock, copy.to, copy.bytes), copy.to,
           "written by a copy");
    std::memcpy(bytes + copy.to, reinterpret_cast<const void *>(copy.from), copy.bytes);
    return true;
  });
}

// --- Launches ---

uint64_t execute(const Program &program, const LaunchShape &shape, const std::vector<uint8_t> &parameters,
                 const GlobalMemory &memory, uint64_t seed) {
  std::atomic<uint32_t> next = 0;
  std::atomic<uint64_t> executed = 0;
  // Of the first of the blocks that failed.
  std::exception_ptr failure;
  uint32_t failed = shape.blocks;
  std::mutex mutex;
  auto work = [&] {
    uint32_t number = 0;
    try {
      while ((number = next++) < shape.blocks) {
        Block block(program, shape, number, parameters, memory, seed);
        block.run();
        executed += block.executed;
      }
    } catch (...) {
      std::lock_guard lock(mutex);
      if (number < failed) {
        failed = number;
        failure = std::current_exception();
      }
      next = shape.blocks;
    }
  };
  std::vector<std::thread> threads;
  for (uint32_t i = 1; i < std::min(shape.blocks, std::thread::hardware_concurrency()); ++i)
    threads.emplace_back(work);
  work();
  for (std::thread &thread : threads)
    thread.join();
  if (failure)
    std::rethrow_exception(failure);
  return executed;
}

} // namespace tpac::ptx
