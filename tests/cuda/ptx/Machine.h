// SPDX-License-Identifier: Apache-2.0
//
// Thread blocks of a launch on this machine's CPU, one warp at a time until it waits for others.
//
// It is as unkind as the programming model allows: memory that nobody wrote is NaN, copies arrive as late as they may
// and their places are NaN until then, warps run as far as they can in an order that a seed draws. Every access is
// checked: outside of what is allocated, not aligned, and in shared memory - by vector clocks of warps and copies - not
// ordered by any barrier.

#ifndef TPAC_TESTS_CUDA_PTX_MACHINE_H
#define TPAC_TESTS_CUDA_PTX_MACHINE_H

#include "tests/cuda/ptx/Program.h"

#include <deque>
#include <map>
#include <mutex>
#include <optional>
#include <random>
#include <stdexcept>

namespace tpac::ptx {

inline constexpr int lanesOfWarp = 32;
inline constexpr uint32_t allLanes = ~0u;

/// A kernel does what it must not do.
struct Fault : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// Global memory: what is allocated.
class GlobalMemory {
public:
  void *allocate(size_t bytes);
  bool release(void *pointer);
  /// Of others, readable and writable until `remove`.
  void add(const void *begin, size_t bytes);
  void remove(const void *begin);
  /// Whether [address, address + bytes) lies within one allocation.
  bool contains(uint64_t address, size_t bytes) const;

private:
  /// Bytes by beginning.
  std::map<uint64_t, size_t> ranges;
};

struct LaunchShape {
  uint32_t blocks = 1, threads = 1;
  size_t sharedBytes = 0;
};

/// Of each agent of a block - warps, then barriers as those whose bulk copies write - up to which time what it did is
/// known to have happened.
class Clock {
public:
  uint32_t operator[](size_t agent) const { return agent < times.size() ? times[agent] : 0; }
  void set(size_t agent, uint32_t time);
  void tick(size_t agent) { set(agent, (*this)[agent] + 1); }
  void join(const Clock &other);

private:
  std::vector<uint32_t> times;
};

/// Who read and wrote a block's shared memory when, per two bytes.
class Accesses {
public:
  Accesses(size_t bytes, size_t warps) : warps(warps), writes(cells(bytes)), reads(cells(bytes) * warps) {}
  /// Notes an access and gives an agent whose access conflicts with it and is not known by `clock`. Only warps read.
  /// Who writes what is there already (`isSame`) may do so beside others that write it.
  std::optional<size_t> read(size_t warp, const Clock &clock, size_t offset, size_t bytes);
  std::optional<size_t> write(size_t agent, uint32_t time, const Clock &clock, size_t offset, size_t bytes,
                              bool isSame = false);

private:
  static size_t cells(size_t bytes) { return (bytes + 1) / 2; }
  struct Write {
    uint32_t agent = 0, time = 0;
  };
  size_t warps;
  std::vector<Write> writes;
  std::vector<uint32_t> reads;
};

class Block;

/// 32 lanes; those of different places in the program are groups, of which the one that is farthest behind goes first,
/// so that they meet again.
class Warp {
public:
  enum class State { runs, waits, polls, ended };

  Warp(Block &block, const Program &program, uint32_t number, uint32_t lanes);

  /// Runs until it waits or has ended.
  void run();

  template <typename T> T *lanes(uint32_t place) { return reinterpret_cast<T *>(&registers[place]); }
  [[noreturn]] void fail(const std::string &message) const;
  /// Where its lanes stand, for messages.
  std::string place() const;

  Block &block;
  const uint32_t number;
  State state = State::runs;
  /// Lanes that the instruction at hand is executed for, and those that have not ended.
  uint32_t active = 0, alive;
  /// Set by an instruction that polls: it has not succeeded.
  bool isRetried = false;
  /// Number of the block's events when it polled in vain.
  uint64_t polledAt = 0;
  Clock clock;

  /// Copies by lanes that wait to be performed; a lane's group is how often it has committed.
  struct LaneCopy {
    int lane;
    uint32_t group;
    uint64_t from;
    uint32_t to, bytes;
  };
  std::deque<LaneCopy> copies;
  std::array<uint32_t, lanesOfWarp> committed = {};

private:
  struct Group {
    uint32_t mask, at;
    /// Number of the block's events when it polled in vain, since when others have gone on.
    std::optional<uint64_t> polledAt = std::nullopt;
  };
  /// The group that goes on, or none.
  Group *pick();
  bool step(Group &group);
  uint32_t guarded(const Instruction &instruction, uint32_t mask);

  const Program &program;
  std::vector<uint8_t> registers;
  std::vector<Group> groups;
  uint32_t at = 0;
};

/// A thread block.
class Block {
public:
  Block(const Program &program, const LaunchShape &shape, uint32_t number, const std::vector<uint8_t> &parameters,
        const GlobalMemory &memory, uint64_t seed);

  /// Until all warps have ended.
  void run();

  // --- What instructions do. Addresses of shared memory begin with sharedBase.

  static constexpr uint64_t sharedBase = 1024;

  const std::vector<uint8_t> &parameters;

  /// Of shared memory, checked.
  const uint8_t *load(Warp &warp, uint64_t address, size_t bytes);
  void store(Warp &warp, uint64_t address, const void *from, size_t bytes);
  /// `bytes` at a global address, checked.
  uint8_t *global(const Warp &warp, uint64_t address, size_t bytes) const;

  /// Barrier `id` of `threads` threads.
  void arriveAtBarrier(Warp &warp, uint32_t id, uint32_t threads);

  void initBarrier(Warp &warp, uint64_t address, uint32_t arrivals);
  /// Gives the phase that it arrived in.
  uint64_t arrive(Warp &warp, uint64_t address, uint32_t expectedBytes);
  /// Whether phase `phase` has ended.
  bool hasEnded(Warp &warp, uint64_t address, uint64_t phase, bool isParity);
  void copyBulk(Warp &warp, uint64_t to, uint64_t from, uint32_t bytes, uint64_t barrier);
  /// Of a lane, asynchronously: what lies at `to` is not defined until it is performed.
  void copyLane(Warp &warp, int lane, uint64_t to, uint64_t from, uint32_t bytes);
  /// Performs a lane's copies but those of its last `pending` groups.
  void waitForCopies(Warp &warp, int lane, uint32_t pending);

  size_t warpCount() const { return (shape.threads + lanesOfWarp - 1) / lanesOfWarp; }
  const LaunchShape shape;
  const uint32_t number;
  /// What may have changed what a warp polls for.
  uint64_t events = 0;
  /// Instructions of all warps.
  uint64_t executed = 0;
  const std::string &name() const { return program.name; }

private:
  struct NamedBarrier {
    uint32_t threads = 0;
    std::vector<Warp *> waiting;
  };
  struct MemoryBarrier {
    uint32_t arrivals = 0, pending = 0;
    int64_t bytes = 0;
    uint64_t phase = 0;
    /// Who made it when.
    uint32_t maker = 0, made = 0;
    /// As which agent its copies write, and how many have begun.
    size_t agent = 0;
    uint32_t copies = 0;
    /// What was known to who arrived, and when the last phase ended.
    Clock arriving = {}, ended = {};
  };
  struct BulkCopy {
    uint64_t from, barrier;
    uint32_t to, bytes, time;
  };
  /// A barrier whose making the warp knows of.
  MemoryBarrier &barrierAt(const Warp &warp, uint64_t address);
  void settle(MemoryBarrier &barrier);
  void performCopy();
  [[noreturn]] void stuck() const;
  /// Where a shared address lies; checked, without a note of the access.
  uint64_t offsetOf(const Warp &warp, uint64_t address, size_t bytes, size_t alignment) const;
  /// Fails where something is written over a barrier.
  void refuseBarrier(const Warp &warp, uint64_t address, size_t bytes) const;
  /// Fails where an access conflicts with another agent's.
  void refuse(const Warp &warp, std::optional<size_t> other, uint64_t offset, const char *what) const;

  const Program &program;
  const GlobalMemory &memory;
  std::vector<uint8_t> storage;
  uint8_t *bytes = nullptr;
  std::deque<Warp> warps;
  std::array<NamedBarrier, 16> barriers;
  std::map<uint64_t, MemoryBarrier> memoryBarriers;
  size_t nextAgent = 0;
  std::vector<BulkCopy> copies;
  Accesses accesses;
  std::mt19937_64 random;
};

/// Executes a launch; throws Fault. Gives the instructions that warps executed.
uint64_t execute(const Program &program, const LaunchShape &shape, const std::vector<uint8_t> &parameters,
                 const GlobalMemory &memory, uint64_t seed);

} // namespace tpac::ptx

#endif // TPAC_TESTS_CUDA_PTX_MACHINE_H
