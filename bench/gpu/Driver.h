// SPDX-License-Identifier: Apache-2.0
//
// The CUDA driver, loaded when the program runs: nothing of CUDA is needed to build it, and only the driver to run it.
// Every failure is a device::Failure that names the call; after a kernel's fault all later calls fail.

#ifndef TPAC_BENCH_GPU_DRIVER_H
#define TPAC_BENCH_GPU_DRIVER_H

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

namespace tpac::device {

/// A call of the driver failed.
struct Failure : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// There is no driver, or no device.
struct NoDevice : std::runtime_error {
  using std::runtime_error::runtime_error;
};

using DevicePointer = uint64_t;

struct Function {
  void *handle = nullptr;
};

struct Launch {
  Function function;
  int64_t blocks = 1, threads = 1, sharedBytes = 0;
  /// May begin while the launch before it ends (programmatic dependent launch).
  bool overlaps = false;
  /// Values of the parameters, 8 or 4 bytes each.
  std::vector<uint64_t> parameters;
};

/// What a program that needs a device does in main: `work`'s exit code; 0 where there is no device, and 1 where it
/// fails, both said so.
int runOnDevice(const char *program, const std::function<int()> &work);

class Driver {
public:
  /// The first device.
  Driver();

  const std::string &deviceName() const { return name; }
  /// 90 for compute capability 9.0.
  int capability() const { return computeCapability; }
  int multiprocessors() const { return processorCount; }
  /// A CUdevice_attribute of the device.
  int attribute(int id);
  /// 13000 for CUDA 13.0.
  int version();
  /// Bytes of memory that nobody has.
  size_t freeBytes();

  Function load(std::span<const char> image, const std::string &function, int64_t sharedBytes);
  DevicePointer allocate(size_t bytes);
  void release(DevicePointer pointer);
  void upload(DevicePointer to, const void *from, size_t bytes);
  void download(void *to, DevicePointer from, size_t bytes);
  void fill(DevicePointer to, uint8_t byte, size_t bytes);
  void copy(DevicePointer to, DevicePointer from, size_t bytes);
  void launch(const Launch &launch);
  void synchronize();
  /// The CUstream of all that is done here.
  void *cudaStream() const { return stream; }

  /// What `record` launches, as a CUDA graph that can be replayed any number of times. Nothing is computed meanwhile.
  template <typename Record> Function capture(Record record) {
    beginCapture();
    record();
    return endCapture();
  }
  void launchGraph(Function graph);

  /// Captures what `record` launches and copies as a graph, replays it, and gives the seconds of each replay.
  template <typename Record> std::vector<double> timeGraph(int replays, Record record) {
    beginCapture();
    record();
    return replay(replays);
  }

private:
  void beginCapture();
  Function endCapture();
  std::vector<double> replay(int replays);
  void check(int result, const char *call);
  template <typename F> F symbol(const char *name);

  void *library = nullptr;
  void *stream = nullptr;
  std::string name;
  int deviceNumber = 0, computeCapability = 0, processorCount = 0;
};

} // namespace tpac::device

#endif // TPAC_BENCH_GPU_DRIVER_H
