// SPDX-License-Identifier: Apache-2.0
//
// Runs the packs and cases that RuntimeGpuCases wrote on this machine's GPU, through tpac's runtime: results against
// the oracle, replays of CUDA graphs against eager calls, and what a launch costs the CPU.
//
//   RuntimeGpuCheck FOLDER [RESULTS.json] [REGEX]
//
// REGEX selects cases by their names. Exit code 0: all right, or no GPU (said so); 1: a case failed.

#include "tests/gpu/PackOnDevice.h"
#include "tests/gpu/PreparedCase.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <fstream>
#include <iostream>
#include <memory>
#include <regex>
#include <thread>

using namespace tpac::gputest;

namespace {

/// The bits of a call's results.
struct Results {
  std::vector<uint8_t> out, lse;
  bool operator==(const Results &) const = default;
};

/// A call of decode or prefill with all that it needs on the device.
class CallOnDevice {
public:
  CallOnDevice(Driver &driver, const PackOnDevice &pack, const std::string &phase, const PreparedCase &prepared)
      : driver(driver), pack(pack), phase(phase), memory(driver), map(prepared.map) {
    const Case &item = prepared.item;
    const oracle::Sizes whole = item.sizes();
    for (const oracle::TensorSpec &spec : oracle::phaseTensors(pack.variant(), "decode"))
      if (spec.access == "out") {
        types[spec.name] = spec.type;
        tensors[spec.name] = memory.place(spec.type, whole.of(spec.shape), item.isStrided);
      } else if (!spec.name.ends_with("_cache")) {
        tensors[spec.name] = memory.upload(spec.type, prepared.inputs.at(spec.name), item.isStrided);
      }
    memory.placePages(tensors, map, /*isList=*/false, item.isStrided);
    const std::vector<uint8_t> &bytes = prepared.cache;
    cache = memory.allocate(bytes.size());
    if (!bytes.empty())
      driver.upload(cache, bytes.data(), bytes.size());
    sizes = {whole.tokens, whole.batch, whole.capacity,
             map.pageSize() != 0 ? whole.batch * whole.capacity / map.pageSize() : 0};
    workspaceBytes = pack.workspaceBytes(phase, sizes);
    workspace = memory.allocate(workspaceBytes);
    block = pack.block(phase, tensors, cache, sizes, workspace, workspaceBytes);
  }

  bool hasPages() const { return map.pageSize() != 0; }
  /// The pages as a list, from now on.
  void listPages() {
    memory.placePages(tensors, map, /*isList=*/true, /*isStrided=*/false);
    PackOnDevice::Sizes itsSizes = sizes;
    itsSizes.listed = map.list().pages.shape[0];
    block = pack.block(phase, tensors, cache, itsSizes, workspace, workspaceBytes);
  }

  /// Only requests [first, first + count), from now on.
  void select(int64_t first, int64_t count) {
    selected = tensors;
    for (const char *name : {"lengths", "token_start"})
      selected[name].pointer += static_cast<size_t>(first) * sizeof(int32_t);
    DevicePointer itsCache = cache;
    if (map.pageSize() != 0)
      selected["block_table"].pointer +=
          static_cast<size_t>(first * tensors["block_table"].strides[0]) * sizeof(int32_t);
    else
      itsCache += map.bytes(first, sizes.capacity);
    PackOnDevice::Sizes itsSizes = sizes;
    itsSizes.batch = count;
    block = pack.block(phase, selected, itsCache, itsSizes, workspace, workspaceBytes);
  }

  void poison() {
    for (const char *name : {"out", "lse"})
      driver.fill(tensors[name].pointer, 0xff, tensors[name].bytes);
    driver.fill(workspace, 0xff, workspaceBytes);
  }
  void run() { pack.run(phase, block); }
  /// By kernels that know learned factors beforehand; false where the phase has none.
  bool runBound() {
    const std::vector<std::string> constants = pack.constantTensors(phase);
    if (!constants.empty())
      pack.runBound(phase, block, tensors, constants);
    return !constants.empty();
  }
  Results results() {
    driver.synchronize();
    Results bits;
    for (auto [name, to] : {std::pair("out", &bits.out), {"lse", &bits.lse}}) {
      to->resize(tensors[name].bytes);
      if (!to->empty())
        driver.download(to->data(), tensors[name].pointer, to->size());
    }
    return bits;
  }
  oracle::Tensor download(const char *name, const std::vector<int64_t> &shape) {
    return memory.download(types.at(name), tensors[name], shape);
  }
  void setLengths(const std::vector<int64_t> &lengths) {
    std::vector<int32_t> values(lengths.begin(), lengths.end());
    driver.upload(tensors["lengths"].pointer, values.data(), values.size() * sizeof(int32_t));
  }

  Driver &driver;
  const PackOnDevice &pack;
  const std::string phase;
  DeviceTensors memory;
  PackOnDevice::Tensors tensors;
  std::map<std::string, oracle::Type> types;
  PackOnDevice::Block block;

private:
  const CacheMap &map;
  PackOnDevice::Sizes sizes = {};
  PackOnDevice::Tensors selected;
  DevicePointer cache = 0, workspace = 0;
  size_t workspaceBytes = 0;
};

/// About half of each request's tokens, its queries' own included.
std::vector<int64_t> otherLengths(const Case &item) {
  std::vector<int64_t> lengths = item.lengths;
  for (size_t b = 0; b < lengths.size(); ++b)
    lengths[b] = std::min(lengths[b], std::max(lengths[b] / 2, item.queries[b]));
  return lengths;
}

/// Throws where a case fails.
oracle::Comparison check(Driver &driver, const PackOnDevice &pack, const std::string &phase,
                         const PreparedCase &prepared) {
  const Case &item = prepared.item;
  CallOnDevice call(driver, pack, phase, prepared);
  call.poison();
  call.run();
  const Results first = call.results();
  const oracle::Attention &expected = prepared.expected;
  const oracle::Comparison comparison = prepared.judge(pack.variant(), call.download("out", expected.out.shape),
                                                       call.download("lse", expected.lse.shape));
  if (!comparison.ok)
    throw std::runtime_error(comparison.message);
  // From a thread that has no context of its own.
  call.poison();
  std::string failure;
  std::thread([&] {
    try {
      call.run();
    } catch (const std::exception &error) {
      failure = error.what();
    }
  }).join();
  if (!failure.empty())
    throw std::runtime_error("from another thread: " + failure);
  if (call.results() != first)
    throw std::runtime_error("two calls differ");

  const Function graph = driver.capture([&] { call.run(); });
  auto replay = [&] {
    call.poison();
    driver.launchGraph(graph);
    return call.results();
  };
  if (replay() != first)
    throw std::runtime_error("the graph's replay differs from the call");
  call.setLengths(otherLengths(item));
  const Results replayed = replay();
  call.poison();
  call.run();
  if (call.results() != replayed)
    throw std::runtime_error("the graph's replay differs from the call where lengths have changed");
  call.setLengths(item.lengths);
  if (replay() != first)
    throw std::runtime_error("the graph's replay differs from the call where lengths have changed back");
  call.poison();
  if (call.runBound() && call.results() != first)
    throw std::runtime_error("kernels that know learned factors beforehand give other bits");
  if (call.hasPages()) {
    call.listPages();
    call.poison();
    call.run();
    if (call.results() != first)
      throw std::runtime_error("a list of pages gives other bits than a table");
  }
  return comparison;
}

/// Throws where what is computed of a request depends on the others of its call, though parts have a fixed size.
void checkFixedParts(Driver &driver, const PackOnDevice &pack, const PreparedCase &prepared) {
  CallOnDevice call(driver, pack, "decode", prepared);
  const oracle::Attention &expected = prepared.expected;
  auto run = [&] {
    call.poison();
    call.run();
    driver.synchronize();
    return std::pair(call.download("out", expected.out.shape), call.download("lse", expected.lse.shape));
  };
  const auto [out, lse] = run();
  if (const oracle::Comparison comparison = prepared.judge(pack.variant(), out, lse); !comparison.ok)
    throw std::runtime_error("parts of a fixed size: " + comparison.message);
  const std::vector<double> &starts = prepared.inputs.at("token_start").data;
  const auto batch = static_cast<int64_t>(prepared.item.lengths.size());
  for (int64_t first = 0; first < batch; ++first)
    for (const int64_t count : {int64_t(1), batch - first}) {
      call.select(first, count);
      const auto [itsOut, itsLse] = run();
      const auto begin = static_cast<int64_t>(starts[static_cast<size_t>(first)]);
      const auto end = static_cast<int64_t>(starts[static_cast<size_t>(first + count)]);
      if (!hasSameRows(out, itsOut, begin, end) || !hasSameRows(lse, itsLse, begin, end))
        throw std::runtime_error("parts of a fixed size: request " + std::to_string(first) +
                                 " depends on the batch around it");
    }
}

double median(std::vector<double> values) {
  std::ranges::sort(values);
  return values[values.size() / 2];
}

/// Seconds that the CPU spends in a call of decode: medians.
nlohmann::json launchCost(Driver &driver, const PackOnDevice &pack, const Case &item) {
  constexpr int rounds = 30, callsOfRound = 100, decode = TPAC_DECODE;
  const PreparedCase prepared = prepare(pack.variant(), pack.cacheLayout(), item);
  CallOnDevice call(driver, pack, "decode", prepared);
  std::vector<double> seconds;
  for (int round = 0; round < rounds; ++round) {
    for (int i = 0; i < callsOfRound; ++i) {
      const auto start = std::chrono::steady_clock::now();
      const int32_t status = pack.runQuickly(decode, call.block);
      const std::chrono::duration<double> time = std::chrono::steady_clock::now() - start;
      if (status != TPAC_SUCCESS)
        throw std::runtime_error(tpac_runtime_status_message(status));
      // The first round finds cold caches.
      if (round > 0)
        seconds.push_back(time.count());
    }
    driver.synchronize();
  }
  return {{"name", item.name},
          {"calls", seconds.size()},
          {"median_seconds", median(seconds)},
          {"fastest_seconds", *std::ranges::min_element(seconds)}};
}

int checkAll(const std::filesystem::path &folder, const char *resultsFile, const std::string &filter) {
  Driver driver;
  std::cout << driver.deviceName() << ", compute capability " << driver.capability() << "\n";
  const std::vector<char> text = readFile(folder / "cases.json");
  const nlohmann::json plan = nlohmann::json::parse(text.begin(), text.end());
  std::map<std::pair<std::string, int64_t>, std::unique_ptr<PackOnDevice>> packs;
  auto packOf = [&](const std::string &name, int64_t partTokens = 0) -> const PackOnDevice & {
    auto &pack = packs[{name, partTokens}];
    if (!pack)
      pack = std::make_unique<PackOnDevice>(driver, folder / "packs" / name, plan.at("packs").at(name), partTokens);
    return *pack;
  };
  nlohmann::json results = {{"device", driver.deviceName()}, {"cases", nlohmann::json::array()}};
  const std::regex pattern(filter);
  int passed = 0, failed = 0;
  auto record = [&](const std::string &name, const std::function<void(nlohmann::json &)> &work) {
    nlohmann::json entry = {{"name", name}, {"ok", true}};
    try {
      work(entry);
      ++passed;
    } catch (const std::exception &error) {
      entry["ok"] = false;
      entry["message"] = error.what();
      std::cout << "FAILED " << name << ": " << error.what() << "\n";
      ++failed;
    }
    results["cases"].push_back(std::move(entry));
  };
  std::vector<nlohmann::json> chosen;
  std::vector<Preparation::Work> work;
  for (const nlohmann::json &entry : plan.at("cases")) {
    const auto item = entry.at("case").get<Case>();
    if (!std::regex_search(item.name, pattern))
      continue;
    chosen.push_back(entry);
    const nlohmann::json &pack = plan.at("packs").at(item.kernel);
    const oracle::Variant variant = oracle::parseVariant(pack.at("variant"));
    work.push_back({costOf(variant, item), bytesOf(pack.at("cache"), item),
                    [&pack, variant, item] { return prepare(variant, pack.at("cache"), item); }});
  }
  Preparation preparation(std::move(work));
  for (const nlohmann::json &entry : chosen) {
    const PreparedCase prepared = preparation.take();
    record(prepared.item.name, [&](nlohmann::json &result) {
      const PackOnDevice &pack = packOf(prepared.item.kernel);
      result["target"] = pack.target();
      result["share_of_limit"] = check(driver, pack, entry.at("phase"), prepared).worstShare;
      constexpr int64_t partTokens = 96;
      if (entry.at("phase") == "decode")
        checkFixedParts(driver, packOf(prepared.item.kernel, partTokens), prepared);
    });
  }
  for (const nlohmann::json &entry : plan.at("element_cases")) {
    const auto item = entry.get<ElementCase>();
    if (std::regex_search(item.name, pattern))
      record(item.name, [&](nlohmann::json &) {
        const PackOnDevice &pack = packOf(item.kernels);
        ElementChecker(driver, pack.variant(), pack.cacheLayout(), pack).check(item);
      });
  }
  // What a decode call costs the CPU is reported, and judged by nobody here: times are no tests.
  for (const nlohmann::json &entry : plan.at("cases")) {
    const auto item = entry.at("case").get<Case>();
    const std::string name = item.name + "/launch";
    if (item.name.find("/decode-ragged") == std::string::npos || !std::regex_search(name, pattern))
      continue;
    record(name, [&](nlohmann::json &result) {
      const nlohmann::json cost = launchCost(driver, packOf(item.kernel), item);
      const double seconds = cost.at("median_seconds");
      result["cost"] = cost;
      std::cout << item.name << ": " << seconds * 1e6 << " us per launch of decode, fastest "
                << cost.at("fastest_seconds").get<double>() * 1e6 << "\n";
    });
  }
  results["passed"] = passed;
  results["failed"] = failed;
  if (resultsFile)
    std::ofstream(resultsFile) << results.dump(1) << "\n";
  std::cout << passed << " passed, " << failed << " failed\n";
  return failed ? 1 : 0;
}

} // namespace

int main(int argc, char **argv) {
  if (argc < 2 || argc > 4) {
    std::cerr << "usage: RuntimeGpuCheck FOLDER [RESULTS.json] [REGEX]\n";
    return 2;
  }
  return runOnDevice("RuntimeGpuCheck",
                     [&] { return checkAll(argv[1], argc > 2 ? argv[2] : nullptr, argc > 3 ? argv[3] : ""); });
}
