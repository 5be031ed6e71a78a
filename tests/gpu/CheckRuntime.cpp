// SPDX-License-Identifier: Apache-2.0
//
// Runs the packs and cases that RuntimeGpuCases wrote on this machine's GPU, through tpac's runtime: results against
// the oracle, replays of CUDA graphs against eager calls, and what a launch costs the CPU.
//
//   RuntimeGpuCheck FOLDER [RESULTS.json] [REGEX]
//
// REGEX selects cases by their names. Exit code 0: all right, or no GPU (said so); 1: a case failed.

#include "tests/gpu/PackOnDevice.h"
#include "tests/oracle/Compare.h"

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
  CallOnDevice(Driver &driver, const PackOnDevice &pack, const std::string &phase, const Case &item)
      : driver(driver), pack(pack), phase(phase), item(item), memory(driver), inputs(makeInputs(pack.variant(), item)) {
    const oracle::Sizes whole = item.sizes();
    for (const oracle::TensorSpec &spec : oracle::phaseTensors(pack.variant(), "decode"))
      if (spec.access == "out") {
        types[spec.name] = spec.type;
        tensors[spec.name] = memory.place(spec.type, whole.of(spec.shape), item.isStrided);
      } else if (!spec.name.ends_with("_cache")) {
        tensors[spec.name] = memory.upload(spec.type, inputs.at(spec.name), item.isStrided);
      }
    CacheMap map(pack.cacheLayout());
    map.drawPages(item.lengths, item.capacity, item.seed, item.sharedTokens);
    if (map.pageSize() != 0)
      tensors["block_table"] = memory.upload(oracle::Type::i32, map.table(), item.isStrided);
    const std::vector<uint8_t> bytes = map.layOut(item.lengths, item.capacity, inputs);
    const DevicePointer cache = memory.allocate(bytes.size());
    if (!bytes.empty())
      driver.upload(cache, bytes.data(), bytes.size());
    const PackOnDevice::Sizes sizes = {whole.tokens, whole.batch, whole.capacity,
                                       map.pageSize() != 0 ? whole.batch * whole.capacity / map.pageSize() : 0};
    workspaceBytes = pack.workspaceBytes(phase, sizes);
    workspace = memory.allocate(workspaceBytes);
    block = pack.block(phase, tensors, cache, sizes, workspace, workspaceBytes);
  }

  void poison() {
    for (const char *name : {"out", "lse"})
      driver.fill(tensors[name].pointer, 0xff, tensors[name].bytes);
    driver.fill(workspace, 0xff, workspaceBytes);
  }
  void run() { pack.run(phase, block); }
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
  const Case &item;
  DeviceTensors memory;
  const oracle::Tensors inputs;
  PackOnDevice::Tensors tensors;
  std::map<std::string, oracle::Type> types;
  PackOnDevice::Block block;

private:
  DevicePointer workspace = 0;
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
oracle::Comparison check(Driver &driver, const PackOnDevice &pack, const std::string &phase, const Case &item,
                         const oracle::Attention &expected) {
  CallOnDevice call(driver, pack, phase, item);
  call.poison();
  call.run();
  const Results first = call.results();
  const int64_t longest = *std::ranges::max_element(item.lengths);
  const oracle::Comparison comparison =
      oracle::compare(pack.variant(), call.inputs.at("token_start"), oracle::requestTolerance(pack.variant(), longest),
                      call.download("out", expected.out.shape), call.download("lse", expected.lse.shape), expected);
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
  return comparison;
}

double median(std::vector<double> values) {
  std::ranges::sort(values);
  return values[values.size() / 2];
}

/// Seconds that the CPU spends in a call of decode: medians.
nlohmann::json launchCost(Driver &driver, const PackOnDevice &pack, const Case &item) {
  constexpr int rounds = 30, callsOfRound = 100, decode = TPAC_DECODE;
  CallOnDevice call(driver, pack, "decode", item);
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

/// Reads what is expected of the cases one after another.
class Expected {
public:
  explicit Expected(const std::filesystem::path &file) : bytes(readFile(file)) {}

  oracle::Attention next(const oracle::Variant &variant, const Case &item) {
    const int64_t tokens = item.sizes().tokens, heads = variant.localHeads();
    oracle::Attention attention;
    attention.out = tensor({tokens, heads, variant.v.features()});
    attention.lse = tensor({tokens, heads});
    attention.maxLogit = tensor({tokens, heads});
    return attention;
  }

private:
  oracle::Tensor tensor(std::vector<int64_t> shape) {
    oracle::Tensor result(std::move(shape));
    for (double &value : result.data) {
      float number;
      if (at + sizeof(number) > bytes.size())
        throw std::runtime_error("expected.bin is too short");
      std::memcpy(&number, &bytes[at], sizeof(number));
      at += sizeof(number);
      value = number;
    }
    return result;
  }

  std::vector<char> bytes;
  size_t at = 0;
};

int checkAll(const std::filesystem::path &folder, const char *resultsFile, const std::string &filter) {
  Driver driver;
  std::cout << driver.deviceName() << ", compute capability " << driver.capability() << "\n";
  const std::vector<char> text = readFile(folder / "cases.json");
  const nlohmann::json plan = nlohmann::json::parse(text.begin(), text.end());
  Expected expected(folder / "expected.bin");
  std::map<std::string, std::unique_ptr<PackOnDevice>> packs;
  auto packOf = [&](const std::string &name) -> const PackOnDevice & {
    auto &pack = packs[name];
    if (!pack)
      pack = std::make_unique<PackOnDevice>(driver, folder / "packs" / name, plan.at("packs").at(name));
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
  for (const nlohmann::json &entry : plan.at("cases")) {
    const auto item = entry.at("case").get<Case>();
    const oracle::Attention attention =
        expected.next(oracle::parseVariant(plan.at("packs").at(item.kernel).at("variant")), item);
    if (std::regex_search(item.name, pattern))
      record(item.name, [&](nlohmann::json &result) {
        const PackOnDevice &pack = packOf(item.kernel);
        result["target"] = pack.target();
        result["share_of_limit"] = check(driver, pack, entry.at("phase"), item, attention).worstShare;
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
    if (item.name.find("/decode-ragged") == std::string::npos || !std::regex_search(item.name, pattern))
      continue;
    record(item.name + "/launch", [&](nlohmann::json &result) {
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
  try {
    return checkAll(argv[1], argc > 2 ? argv[2] : nullptr, argc > 3 ? argv[3] : "");
  } catch (const NoDevice &error) {
    std::cout << "skipped: " << error.what() << "\n";
    return 0;
  } catch (const std::exception &error) {
    std::cerr << "RuntimeGpuCheck: " << error.what() << "\n";
    return 1;
  }
}
