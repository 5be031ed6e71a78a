// SPDX-License-Identifier: Apache-2.0
//
// Times the kernels that GpuCases wrote on this machine's GPU, beside a device-to-device copy of the same run.
//
//   GpuBench FOLDER RESULTS.json [REGEX]
//
// Beside each time stand the bounds: the cache's bytes at the copy's rate, and the kernel's tensor core operations at
// the rate of mma.sync alone. Cold L2: launches rotate over inputs of 800 MB (400 MB where one input is below 10 MB). A
// time is the median over replays of a CUDA graph of launches, merge included. REGEX selects points by "group batch
// length".

#include "bench/gpu/Rates.h"
#include "bench/measure/Statistics.h"
#include "tests/gpu/Elements.h"
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
using tpac::bench::median;
using tpac::device::fillWith;
using tpac::device::moveRates;

namespace {

constexpr int replays = 9;

/// m16n8k16 of bf16 on 16 accumulators in turn, `rounds` times; registers only.
std::string multiplierSource() {
  std::string text =
      ".version 7.0\n.target sm_80\n.address_size 64\n"
      ".visible .entry multiply(.param .u64 to, .param .u32 rounds) {\n.reg .pred %p;\n.reg .b32 %r<12>;\n"
      ".reg .b64 %d<3>;\n.reg .f32 %f<64>;\nld.param.u32 %r1, [rounds];\nmov.u32 %r2, %tid.x;\n";
  for (int i = 3; i < 9; ++i)
    text += "mov.u32 %r" + std::to_string(i) + ", 0;\n";
  for (int i = 0; i < 64; ++i)
    text += "cvt.rn.f32.u32 %f" + std::to_string(i) + ", %r2;\n";
  text += "NEXT:\n";
  for (int i = 0; i < 64; i += 4) {
    std::string sums;
    for (int j = i; j < i + 4; ++j)
      sums += (j > i ? ", %f" : "%f") + std::to_string(j);
    text += "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {" + sums + "}, {%r3, %r4, %r5, %r6}, {%r7, %r8}, {" +
            sums + "};\n";
  }
  text += "sub.u32 %r1, %r1, 1;\nsetp.ne.u32 %p, %r1, 0;\n@%p bra NEXT;\n";
  for (int i = 1; i < 64; ++i)
    text += "add.f32 %f0, %f0, %f" + std::to_string(i) + ";\n";
  return text + "setp.ne.f32 %p, %f0, 0f7f800000;\n@%p ret;\nld.param.u64 %d1, [to];\ncvta.to.global.u64 %d1, %d1;\n"
                "st.global.f32 [%d1], %f0;\nret;\n}\n";
}

constexpr double operationsOfProduct = 2.0 * 16 * 8 * 16;

/// Operations per second of mma.sync.
double multiplyRate(Driver &driver, DevicePointer scratch) {
  std::string source = multiplierSource();
  constexpr int64_t rounds = 20000, products = 16, threads = 256;
  Launch launch;
  launch.function = driver.load({source.c_str(), source.size() + 1}, "multiply", 0);
  launch.threads = threads;
  launch.blocks = 2 * driver.multiprocessors();
  launch.parameters = {scratch, static_cast<uint64_t>(rounds)};
  double seconds = median(driver.timeGraph(replays, [&] { driver.launch(launch); }));
  return static_cast<double>(launch.blocks * threads / 32 * rounds * products) * operationsOfProduct / seconds;
}

struct Rates {
  /// Bytes per second: read and written by a copy, read. Operations per second of mma.sync.
  double copy, read, multiply;
};

/// Fills the pool with random bf16 of magnitude below 2.
void fillRandomly(Driver &driver, DevicePointer pool, size_t bytes) {
  std::vector<uint16_t> block(32 << 20);
  property::Random random(1);
  for (uint16_t &value : block) {
    uint64_t bits = random.next();
    value = static_cast<uint16_t>((bits & 0x807f) | (0x3e80 + ((bits >> 16) & 0x100)));
  }
  fillWith(driver, pool, bytes, std::as_bytes(std::span(block)));
}

std::vector<int64_t> lengthsOf(const nlohmann::json &point) {
  if (point.contains("lengths"))
    return point.at("lengths");
  return std::vector<int64_t>(point.at("batch").get<size_t>(), point.at("length").get<int64_t>());
}

/// Seconds that a point takes at least: its cache read once at the rate of a copy, its tensor core instructions alone.
struct Bounds {
  double bytes = 0, memory = 0, products = 0;
};

Bounds boundsOf(const Kernels &kernels, const nlohmann::json &point, const Rates &rates) {
  const nlohmann::json &json = kernels.description();
  int64_t queries = point.value("queries", 1), tile = json.at("queries"), blockTokens = json.at("tokens_of_block");
  auto rowBytes = static_cast<double>(kernels.cache().bytes(1, 1));
  double blocks = 0;
  Bounds bounds;
  for (int64_t length : lengthsOf(point)) {
    bounds.bytes += rowBytes * static_cast<double>(length);
    for (int64_t first = 0; first < queries; first += tile) {
      int64_t seen = length - queries + std::min(first + tile, queries);
      blocks += static_cast<double>((seen + blockTokens - 1) / blockTokens);
    }
  }
  blocks *= json.at("head_tiles").get<double>();
  bounds.memory = bounds.bytes / rates.copy;
  bounds.products = blocks * json.at("products_of_block").get<double>() * operationsOfProduct / rates.multiply;
  return bounds;
}

/// What a point tries beside its kernels.
struct Variation {
  int64_t splits, warpsOfRow, blocksOfPart;
};

std::vector<Variation> variationsOf(const nlohmann::json &point) {
  std::vector<Variation> variations;
  auto values = [&](const char *name) { return point.value(name, std::vector<int64_t>{0}); };
  for (int64_t splits : point.at("splits").get<std::vector<int64_t>>())
    for (int64_t warps : values("warps_of_row"))
      for (int64_t blocks : values("blocks_of_part"))
        variations.push_back({splits, warps, blocks});
  return variations;
}

double timePoint(Driver &driver, const Kernels &kernels, const nlohmann::json &point, const Variation &variation,
                 DevicePointer pool, size_t poolBytes) {
  int64_t batch = point.at("batch"), queries = point.value("queries", 1);
  std::vector<int64_t> lengths = lengthsOf(point);
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
  call.splits = variation.splits;
  call.warpsOfRow = variation.warpsOfRow;
  call.blocksOfPart = variation.blocksOfPart;
  if (int64_t pageSize = kernels.cache().pageSize()) {
    // Every page of the pool, in any order.
    oracle::Tensor table({batch, capacity / pageSize});
    std::iota(table.data.begin(), table.data.end(), 0.0);
    property::Random random(1);
    for (size_t i = table.data.size(); i > 1; --i)
      std::swap(table.data[i - 1], table.data[static_cast<size_t>(random.range(0, static_cast<int64_t>(i) - 1))]);
    call.tensors["block_table"] = tensors.upload(oracle::Type::i32, table, /*isStrided=*/false);
    call.tensors["page_starts"] = DeviceTensor();
  }
  call.workspace = tensors.allocate(kernels.workspaceBytes(call));

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

/// Append of `added` tokens to each of `batch` requests, or merge of `rows` rows; with the bytes that it reads and
/// writes.
std::pair<double, double> timeElements(Driver &driver, const ElementKernels &kernels, const nlohmann::json &point,
                                       DevicePointer pool, size_t poolBytes) {
  const oracle::Variant &variant = kernels.itsVariant();
  bool isMerge = point.contains("rows");
  int64_t batch = point.value("batch", 1), added = point.value("added", 0), length = point.value("length", 0);
  int64_t rows = isMerge ? point.at("rows").get<int64_t>() : batch * added;
  CacheMap map = kernels.cache();
  std::vector<int64_t> after(static_cast<size_t>(batch), length + added);
  int64_t capacity = map.capacityFor(length + added);
  map.drawPages(after, capacity, 1);
  oracle::Sizes sizes{rows, batch, capacity};
  DeviceTensors tensors(driver);
  std::map<std::string, DeviceTensor> arguments;
  double bytes = 0;
  property::Random random(1);
  for (const oracle::TensorSpec &spec : oracle::phaseTensors(variant, isMerge ? "merge" : "append")) {
    if (spec.name.ends_with("_cache"))
      continue;
    oracle::Tensor tensor(sizes.of(spec.shape));
    for (size_t i = 0; i < tensor.data.size(); ++i) {
      if (spec.name == "token_start")
        tensor.data[i] = static_cast<double>(static_cast<int64_t>(i) * added);
      else if (spec.name == "lengths" || spec.name == "positions")
        tensor.data[i] = static_cast<double>(length);
      else
        tensor.data[i] = random.signedUnit();
    }
    bytes += static_cast<double>(tensor.data.size() * oracle::typeSize(spec.type));
    arguments[spec.name] = tensors.upload(spec.type, tensor, /*isStrided=*/false);
  }
  tensors.placePages(arguments, map, /*isList=*/false, /*isStrided=*/false);
  if (!isMerge)
    bytes += static_cast<double>(kernels.cache().bytes(1, 1) * static_cast<size_t>(rows));
  size_t setBytes = isMerge ? 1 : map.bytes(batch, capacity);
  if (setBytes > poolBytes)
    throw std::runtime_error("the pool is too small for a point");
  size_t sets = isMerge ? 1 : std::max<size_t>(1, std::min<size_t>(400'000'000, poolBytes) / setBytes);
  auto launches = static_cast<size_t>(std::clamp(2.5e-3 / (3e-6 + bytes / 2e12), 1.0, 300.0));
  int64_t blocks = std::min<int64_t>(rows, int64_t(16) * driver.multiprocessors());
  std::vector<double> seconds = driver.timeGraph(replays, [&] {
    for (size_t i = 0; i < launches; ++i) {
      if (isMerge)
        kernels.launch({"merge", blocks, arguments, 0, rows, 0, 0});
      else
        kernels.launch({"append", blocks, arguments, pool + (i % sets) * setBytes, rows, batch, capacity});
    }
  });
  return {median(seconds) / static_cast<double>(launches), bytes};
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
  const auto [copy, read] = moveRates(driver, pool, size_t(4) << 30, replays);
  const Rates rates = {copy, read, multiplyRate(driver, pool)};
  results["copy_bytes_per_second"] = rates.copy;
  results["read_bytes_per_second"] = rates.read;
  results["mma_operations_per_second"] = rates.multiply;
  auto save = [&] { std::ofstream(resultsFile) << results.dump(1) << "\n"; };
  std::printf("%s: copy %.1f GB/s, read %.1f GB/s, mma.sync %.1f TFLOP/s\n", driver.deviceName().c_str(),
              rates.copy * 1e-9, rates.read * 1e-9, rates.multiply * 1e-12);
  std::printf("%-18s %3s %7s %4s | %8s = %8s /copy | bounds %8s %8s %5s | %s\n", "group", "B", "length", "N", "us",
              "GB/s", "bytes", "mma", "ratio", "kernel, splits, warps of a merged row, blocks of a part");
  std::regex pattern(filter);
  for (const nlohmann::json &point : plan.at("points")) {
    std::string group = point.at("group");
    int64_t batch = point.value("batch", 1), length = point.value("length", 0), queries = point.value("queries", 1);
    std::string key = group + " " + std::to_string(batch) + " " + std::to_string(length);
    if (!std::regex_search(key, pattern))
      continue;
    const std::vector<std::string> names = point.at("kernels");
    if (!names.empty() && plan.at("elements").contains(names.front())) {
      ElementKernels kernels(driver, folder, plan.at("elements").at(names.front()));
      auto [seconds, bytes] = timeElements(driver, kernels, point, pool, poolBytes);
      nlohmann::json result = point;
      result["seconds"] = seconds;
      result["bytes"] = bytes;
      results["points"].push_back(result);
      std::printf("%-18s %3lld %7lld %4lld | %8.2f = %8.1f %5.3f | %s\n", group.c_str(), static_cast<long long>(batch),
                  static_cast<long long>(length), static_cast<long long>(point.value("rows", point.value("added", 0))),
                  seconds * 1e6, bytes / seconds * 1e-9, bytes / seconds / rates.copy,
                  point.contains("rows") ? "merge" : "append");
      save();
      continue;
    }
    double best = 0;
    const Kernels *bestKernels = nullptr;
    std::string bestName;
    for (const std::string &name : names)
      for (const Variation &variation : variationsOf(point)) {
        Kernels &kernels = kernelsOf(name);
        double seconds = timePoint(driver, kernels, point, variation, pool, poolBytes);
        Bounds bounds = boundsOf(kernels, point, rates);
        results["points"].push_back({{"group", group},
                                     {"batch", batch},
                                     {"length", length},
                                     {"kernel", name},
                                     {"splits", variation.splits},
                                     {"warps_of_row", variation.warpsOfRow},
                                     {"blocks_of_part", variation.blocksOfPart},
                                     {"queries", queries},
                                     {"seconds", seconds},
                                     {"memory_bound", bounds.memory},
                                     {"mma_bound", bounds.products}});
        if (!bestKernels || seconds < best) {
          best = seconds;
          bestKernels = &kernels;
          bestName = name + " " + std::to_string(variation.splits) + " " + std::to_string(variation.warpsOfRow) + " " +
                     std::to_string(variation.blocksOfPart);
        }
      }
    if (!bestKernels)
      continue;
    Bounds bounds = boundsOf(*bestKernels, point, rates);
    std::printf("%-18s %3lld %7lld %4lld | %8.2f = %8.1f %5.3f | bounds %8.2f %8.2f %5.2f | %s\n", group.c_str(),
                static_cast<long long>(batch), static_cast<long long>(length), static_cast<long long>(queries),
                best * 1e6, bounds.bytes / best * 1e-9, bounds.bytes / best / rates.copy, bounds.memory * 1e6,
                bounds.products * 1e6, best / std::max(bounds.memory, bounds.products), bestName.c_str());
    std::fflush(stdout);
    save();
  }
  return 0;
}

} // namespace

int main(int argc, char **argv) {
  if (argc < 3 || argc > 4) {
    std::cerr << "usage: GpuBench FOLDER RESULTS.json [REGEX]\n";
    return 2;
  }
  return runOnDevice("GpuBench", [&] { return bench(argv[1], argv[2], argc > 3 ? argv[3] : ""); });
}
