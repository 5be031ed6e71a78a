// SPDX-License-Identifier: Apache-2.0
//
// Times the kernels that GpuCases wrote on this machine's GPU, beside a device-to-device copy of the same run.
//
//   GpuBench FOLDER RESULTS.json [REGEX]
//
// Cold L2: launches rotate over inputs of 800 MB (400 MB where one input is below 10 MB). A time is the median over
// replays of a CUDA graph of launches, merge included. REGEX selects points by "group batch length".

#include "tests/gpu/Kernels.h"
#include "tests/property/Random.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iostream>
#include <memory>
#include <numeric>
#include <regex>

using namespace tpac::gputest;

namespace {

constexpr int replays = 9;

double median(std::vector<double> values) {
  std::ranges::sort(values);
  return values[values.size() / 2];
}

/// Kernels that only move bytes: `copy_bytes` reads and writes, `read_bytes` reads (and writes where the bytes say so,
/// which they never do). Every thread moves 4 x 16 bytes at a time.
constexpr char moverSource[] = R"(
.version 7.0
.target sm_80
.address_size 64
.visible .entry copy_bytes(.param .u64 to, .param .u64 from, .param .u64 size) {
  .reg .pred %p;
  .reg .b32 %r<20>;
  .reg .b64 %d<10>;
  mov.u32 %r1, %ctaid.x; mov.u32 %r2, %ntid.x; mov.u32 %r3, %tid.x; mov.u32 %r4, %nctaid.x;
  mul.wide.u32 %d1, %r1, %r2; cvt.u64.u32 %d2, %r3; add.u64 %d1, %d1, %d2; shl.b64 %d1, %d1, 4;
  mul.wide.u32 %d3, %r4, %r2; shl.b64 %d3, %d3, 4; shl.b64 %d4, %d3, 2;
  ld.param.u64 %d5, [to]; ld.param.u64 %d6, [from]; ld.param.u64 %d7, [size];
  cvta.to.global.u64 %d5, %d5; cvta.to.global.u64 %d6, %d6;
  add.u64 %d5, %d5, %d1; add.u64 %d6, %d6, %d1;
NEXT:
  setp.ge.u64 %p, %d1, %d7; @%p bra DONE;
  add.u64 %d8, %d6, %d3;
  ld.global.v4.b32 {%r4, %r5, %r6, %r7}, [%d6];
  ld.global.v4.b32 {%r8, %r9, %r10, %r11}, [%d8]; add.u64 %d8, %d8, %d3;
  ld.global.v4.b32 {%r12, %r13, %r14, %r15}, [%d8]; add.u64 %d8, %d8, %d3;
  ld.global.v4.b32 {%r16, %r17, %r18, %r19}, [%d8];
  add.u64 %d9, %d5, %d3;
  st.global.v4.b32 [%d5], {%r4, %r5, %r6, %r7};
  st.global.v4.b32 [%d9], {%r8, %r9, %r10, %r11}; add.u64 %d9, %d9, %d3;
  st.global.v4.b32 [%d9], {%r12, %r13, %r14, %r15}; add.u64 %d9, %d9, %d3;
  st.global.v4.b32 [%d9], {%r16, %r17, %r18, %r19};
  add.u64 %d1, %d1, %d4; add.u64 %d5, %d5, %d4; add.u64 %d6, %d6, %d4;
  bra NEXT;
DONE:
  ret;
}
.visible .entry read_bytes(.param .u64 to, .param .u64 from, .param .u64 size) {
  .reg .pred %p;
  .reg .b32 %r<24>;
  .reg .b64 %d<10>;
  mov.u32 %r1, %ctaid.x; mov.u32 %r2, %ntid.x; mov.u32 %r3, %tid.x; mov.u32 %r4, %nctaid.x;
  mul.wide.u32 %d1, %r1, %r2; cvt.u64.u32 %d2, %r3; add.u64 %d1, %d1, %d2; shl.b64 %d1, %d1, 4;
  mul.wide.u32 %d3, %r4, %r2; shl.b64 %d3, %d3, 4; shl.b64 %d4, %d3, 2;
  ld.param.u64 %d5, [to]; ld.param.u64 %d6, [from]; ld.param.u64 %d7, [size];
  cvta.to.global.u64 %d5, %d5; cvta.to.global.u64 %d6, %d6;
  add.u64 %d6, %d6, %d1;
  mov.u32 %r20, 0;
NEXT:
  setp.ge.u64 %p, %d1, %d7; @%p bra DONE;
  add.u64 %d8, %d6, %d3;
  ld.global.v4.b32 {%r4, %r5, %r6, %r7}, [%d6];
  ld.global.v4.b32 {%r8, %r9, %r10, %r11}, [%d8]; add.u64 %d8, %d8, %d3;
  ld.global.v4.b32 {%r12, %r13, %r14, %r15}, [%d8]; add.u64 %d8, %d8, %d3;
  ld.global.v4.b32 {%r16, %r17, %r18, %r19}, [%d8];
  and.b32 %r4, %r4, %r5; and.b32 %r6, %r6, %r7; and.b32 %r8, %r8, %r9; and.b32 %r10, %r10, %r11;
  and.b32 %r12, %r12, %r13; and.b32 %r14, %r14, %r15; and.b32 %r16, %r16, %r17; and.b32 %r18, %r18, %r19;
  and.b32 %r4, %r4, %r6; and.b32 %r8, %r8, %r10; and.b32 %r12, %r12, %r14; and.b32 %r16, %r16, %r18;
  and.b32 %r4, %r4, %r8; and.b32 %r12, %r12, %r16; and.b32 %r4, %r4, %r12; or.b32 %r20, %r20, %r4;
  add.u64 %d1, %d1, %d4; add.u64 %d6, %d6, %d4;
  bra NEXT;
DONE:
  setp.ne.u32 %p, %r20, 0xffffffff; @%p ret;
  st.global.b32 [%d5], %r20;
  ret;
}
)";

struct Rates {
  /// Bytes per second: read and written by a copy, read.
  double copy, read;
};

Rates moveRates(Driver &driver, DevicePointer pool, size_t poolBytes) {
  size_t bytes = poolBytes / 2;
  auto secondsOf = [&](const char *kernel) {
    double best = 0;
    for (int64_t perProcessor : {4, 8, 16, 32}) {
      Launch launch;
      launch.function = driver.load(moverSource, kernel, 0);
      launch.threads = 256;
      launch.blocks = perProcessor * driver.multiprocessors();
      // Whole rounds of all threads.
      size_t round = static_cast<size_t>(launch.blocks * launch.threads) * 64;
      size_t moved = bytes / round * round;
      launch.parameters = {pool, pool + bytes, moved};
      double seconds = median(driver.timeGraph(replays, [&] { driver.launch(launch); }));
      best = std::max(best, static_cast<double>(moved) / seconds);
    }
    return best;
  };
  double engine = median(driver.timeGraph(replays, [&] { driver.copy(pool, pool + bytes, bytes); }));
  return {2.0 * std::max(secondsOf("copy_bytes"), static_cast<double>(bytes) / engine), secondsOf("read_bytes")};
}

/// Fills the pool with random bf16 of magnitude below 2.
void fillRandomly(Driver &driver, DevicePointer pool, size_t bytes) {
  std::vector<uint16_t> block(32 << 20);
  property::Random random(1);
  for (uint16_t &value : block) {
    uint64_t bits = random.next();
    value = static_cast<uint16_t>((bits & 0x807f) | (0x3e80 + ((bits >> 16) & 0x100)));
  }
  size_t blockBytes = block.size() * sizeof(uint16_t);
  size_t first = std::min(bytes, blockBytes);
  driver.upload(pool, block.data(), first);
  for (size_t at = first; at < bytes; at += blockBytes)
    driver.copy(pool + at, pool, std::min(blockBytes, bytes - at));
  driver.synchronize();
}

/// Cached tokens of all requests.
double tokensOf(const nlohmann::json &point) {
  if (!point.contains("lengths"))
    return static_cast<double>(point.at("batch").get<int64_t>() * point.at("length").get<int64_t>());
  double sum = 0;
  for (int64_t length : point.at("lengths").get<std::vector<int64_t>>())
    sum += static_cast<double>(length);
  return sum;
}

double timePoint(Driver &driver, const Kernels &kernels, const nlohmann::json &point, int64_t splits,
                 DevicePointer pool, size_t poolBytes) {
  int64_t batch = point.at("batch"), queries = point.value("queries", 1);
  std::vector<int64_t> lengths(static_cast<size_t>(batch), point.at("length").get<int64_t>());
  if (point.contains("lengths"))
    lengths = point.at("lengths").get<std::vector<int64_t>>();
  int64_t capacity = kernels.cache().capacityFor(*std::ranges::max_element(lengths));
  Case item;
  item.lengths = lengths;
  item.queries.assign(static_cast<size_t>(batch), queries);
  item.capacity = 0;
  item.gain = 16;
  const oracle::Variant &variant = kernels.variant();
  oracle::Tensors inputs = makeInputs(variant, item);
  DeviceTensors tensors(driver);
  Kernels::Call call;
  for (const oracle::TensorSpec &spec : oracle::phaseTensors(variant, "decode"))
    if (spec.access == "out") {
      call.tensors[spec.name] = tensors.place(spec.type, item.sizes().of(spec.shape), /*isStrided=*/false);
    } else if (!spec.name.ends_with("_cache")) {
      call.tensors[spec.name] = tensors.upload(spec.type, inputs.at(spec.name), /*isStrided=*/false);
    }
  call.batch = batch;
  call.capacity = capacity;
  call.tokens = batch * queries;
  call.splits = splits;
  if (int64_t pageSize = kernels.cache().pageSize()) {
    // Every page of the pool, in any order.
    oracle::Tensor table({batch, capacity / pageSize});
    std::iota(table.data.begin(), table.data.end(), 0.0);
    property::Random random(1);
    for (size_t i = table.data.size(); i > 1; --i)
      std::swap(table.data[i - 1], table.data[static_cast<size_t>(random.range(0, static_cast<int64_t>(i) - 1))]);
    call.tensors["block_table"] = tensors.upload(oracle::Type::i32, table, /*isStrided=*/false);
  }
  size_t workspace = kernels.workspaceBytes(splits, call.tokens);
  call.workspace = tensors.allocate(workspace);

  size_t setBytes = kernels.cache().bytes(batch, capacity);
  size_t rotation = setBytes < (10u << 20) ? 400'000'000 : 800'000'000;
  size_t sets = std::max<size_t>(1, std::min(rotation, poolBytes) / setBytes);
  if (setBytes > poolBytes)
    throw std::runtime_error("the pool is too small for a point");
  double estimate = 5e-6 + static_cast<double>(setBytes) / 3e12;
  auto launches = static_cast<size_t>(std::clamp(2.5e-3 / estimate, 1.0, 300.0));
  std::vector<double> seconds = driver.timeGraph(replays, [&] {
    for (size_t i = 0; i < launches; ++i) {
      call.cache = pool + (i % sets) * setBytes;
      kernels.launch(call);
    }
  });
  return median(seconds) / static_cast<double>(launches);
}

int bench(const std::filesystem::path &folder, const char *resultsFile, const std::string &filter) {
  Driver driver;
  std::vector<char> text = readFile(folder / "cases.json");
  nlohmann::json plan = nlohmann::json::parse(text.begin(), text.end());
  std::map<std::string, std::unique_ptr<Kernels>> loaded;
  auto kernelsOf = [&](const std::string &name) -> Kernels & {
    auto &kernels = loaded[name];
    if (!kernels)
      kernels = std::make_unique<Kernels>(driver, folder, plan.at("kernels").at(name));
    return *kernels;
  };
  size_t poolBytes = size_t(8) << 30;
  DevicePointer pool = driver.allocate(poolBytes);
  fillRandomly(driver, pool, poolBytes);
  nlohmann::json results = {{"device", driver.deviceName()}, {"points", nlohmann::json::array()}};
  auto [rate, readRate] = moveRates(driver, pool, size_t(4) << 30);
  results["copy_bytes_per_second"] = rate;
  results["read_bytes_per_second"] = readRate;
  std::printf("%s: copy %.1f GB/s, read %.1f GB/s\n", driver.deviceName().c_str(), rate * 1e-9, readRate * 1e-9);
  std::printf("%-22s %5s %8s | %9s %8s %6s | %-28s %s\n", "group", "batch", "length", "us", "GB/s", "/copy", "kernel",
              "splits");
  std::regex pattern(filter);
  for (const nlohmann::json &point : plan.at("points")) {
    std::string group = point.at("group");
    int64_t batch = point.at("batch"), length = point.at("length");
    std::string key = group + " " + std::to_string(batch) + " " + std::to_string(length);
    if (!std::regex_search(key, pattern))
      continue;
    double best = 0;
    std::string bestKernel;
    int64_t bestSplits = 0;
    for (const std::string &name : point.at("kernels").get<std::vector<std::string>>())
      for (int64_t splits : point.at("splits").get<std::vector<int64_t>>()) {
        Kernels &kernels = kernelsOf(name);
        double seconds = timePoint(driver, kernels, point, splits, pool, poolBytes);
        results["points"].push_back({{"group", group},
                                     {"batch", batch},
                                     {"length", length},
                                     {"kernel", name},
                                     {"splits", splits},
                                     {"queries", point.value("queries", 1)},
                                     {"seconds", seconds}});
        if (bestKernel.empty() || seconds < best) {
          best = seconds;
          bestKernel = name;
          bestSplits = splits;
        }
      }
    const Kernels &kernels = kernelsOf(bestKernel);
    double bytes = static_cast<double>(kernels.cache().bytes(1, 1)) * tokensOf(point);
    std::printf("%-22s %5lld %8lld | %9.2f %8.1f %6.3f | %-28s %lld\n", group.c_str(), static_cast<long long>(batch),
                static_cast<long long>(length), best * 1e6, bytes / best * 1e-9, bytes / best / rate,
                bestKernel.c_str(), static_cast<long long>(bestSplits));
    std::fflush(stdout);
    std::ofstream(resultsFile) << results.dump(1) << "\n";
  }
  return 0;
}

} // namespace

int main(int argc, char **argv) {
  if (argc < 3 || argc > 4) {
    std::cerr << "usage: GpuBench FOLDER RESULTS.json [REGEX]\n";
    return 2;
  }
  try {
    return bench(argv[1], argv[2], argc > 3 ? argv[3] : "");
  } catch (const NoDevice &error) {
    std::cout << "skipped: " << error.what() << "\n";
    return 0;
  } catch (const std::exception &error) {
    std::cerr << "GpuBench: " << error.what() << "\n";
    return 1;
  }
}
