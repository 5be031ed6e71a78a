// SPDX-License-Identifier: Apache-2.0

#include "tests/gpu/Elements.h"

#include "tests/property/Random.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <sstream>

namespace tpac::gputest {

namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();
/// Radians that a rotation may be off: the angle, and the sine's approximation by the hardware.
constexpr double angleError = 2e-6;
/// Distance between the requests' first positions.
constexpr int64_t positionStep = 70001;

bool isCacheName(const std::string &name) { return name.ends_with("_cache"); }

[[noreturn]] void fail(const std::string &what, int64_t request, int64_t token, int64_t number, double found,
                       double expected) {
  std::ostringstream text;
  text.precision(9);
  text << what << " of request " << request << ", token " << token << ", element " << number << ": found " << found
       << ", expected " << expected;
  throw std::runtime_error(text.str());
}

} // namespace

ElementKernels::ElementKernels(Driver &driver, const std::filesystem::path &folder, const nlohmann::json &description)
    : driver(driver), json(description), variant(oracle::parseVariant(json.at("variant"))) {
  std::vector<char> image = readFile(folder / json.at("image").get<std::string>());
  for (const auto &[kernel, entry] : json.at("kernels").items())
    functions[kernel] = driver.load(image, entry.at("name"), entry.at("shared_bytes"));
}

void ElementKernels::launch(const Call &call) const {
  const nlohmann::json &entry = json.at("kernels").at(call.kernel);
  Launch launch;
  for (const auto &tensor : entry.at("tensors"))
    addParameters(launch, call.tensors.at(tensor));
  std::vector<int64_t> sizes = {call.tokens};
  if (call.kernel != "merge") {
    launch.parameters.push_back(call.cache);
    sizes = {call.batch, call.capacity};
    if (call.kernel != "append")
      sizes.push_back(call.tokens);
  }
  for (int64_t size : sizes)
    launch.parameters.push_back(static_cast<uint64_t>(size));
  launch.function = functions.at(call.kernel);
  launch.blocks = call.blocks;
  launch.threads = entry.at("threads");
  launch.sharedBytes = entry.at("shared_bytes");
  driver.launch(launch);
}

/// Each new element is within one rounding of the exact one, and what the arithmetic before it may lose; nothing else
/// was written.
void ElementChecker::checkAppended(const oracle::Variant &variant, const CacheMap &map, const ElementCase &item,
                                   int64_t capacity, const oracle::Tensors &exact, const std::vector<uint8_t> &bytes) {
  constexpr double unit = 0x1p-24;
  bool isQuantised = oracle::isQuantised(variant.token), isRotated = variant.rope && !variant.rotatesOnRead();
  std::vector<bool> mayChange(bytes.size(), false);
  for (const CacheMap::Segment &segment : map.segments()) {
    const oracle::Tensor &wanted = exact.at(segment.tensor);
    bool isHead = segment.tensor.find("_head") != std::string::npos;
    const oracle::Factorization &side = segment.tensor[0] == 'v' ? variant.v : variant.k;
    bool hasFunction = isHead && side.headFunction != oracle::HeadFunction::identity;
    bool hasRotation = isRotated && (segment.tensor == "k_token_cache" || segment.tensor == "k_token0_cache");
    double relative =
        (hasFunction ? 32 * unit : 0.0) +
        (isQuantised && segment.type != oracle::Type::i32 ? 16 * unit + (isRotated ? angleError : 0.0) : 0.0);
    int64_t count = map.elementsOfToken(segment);
    for (size_t b = 0; b < item.lengths.size(); ++b)
      for (int64_t m = item.lengths[b]; m < item.lengths[b] + item.added[b]; ++m) {
        auto request = static_cast<int64_t>(b);
        auto first = static_cast<size_t>((request * capacity + m) * count);
        map.forEach(segment, capacity, request, m, [&](int64_t number, size_t place) {
          double expected = wanted.data[first + static_cast<size_t>(number)];
          double found = oracle::decode(segment.type, &bytes[place]);
          std::fill_n(mayChange.begin() + static_cast<std::ptrdiff_t>(place), oracle::typeSize(segment.type), true);
          double largest = 0;
          int64_t row = number / segment.size * segment.size;
          for (int64_t i = row; hasRotation && i < row + segment.size; ++i)
            largest = std::max(largest, std::fabs(wanted.data[first + static_cast<size_t>(i)]));
          double before = relative * std::fabs(expected) + 1.5 * (8 * unit + angleError) * largest;
          double half =
              segment.type == oracle::Type::i32 ? 0.0 : oracle::spacing(segment.type, std::fabs(expected) + before) / 2;
          if (!(std::fabs(found - expected) <= (before + half) * (1 + 1e-12) + 1e-15 * std::fabs(expected)))
            fail("append: " + segment.tensor, request, m, number, found, expected);
        });
      }
  }
  for (size_t i = 0; i < bytes.size(); ++i)
    if (!mayChange[i] && bytes[i] != 0xff)
      throw std::runtime_error("append: byte " + std::to_string(i) + " of the cache was written");
}

void ElementChecker::check(const ElementCase &item) const {
  auto batch = static_cast<int64_t>(item.lengths.size());
  std::vector<int64_t> after;
  for (size_t b = 0; b < item.lengths.size(); ++b)
    after.push_back(item.lengths[b] + item.added[b]);
  CacheMap map = layout;
  int64_t capacity = map.capacityFor(*std::ranges::max_element(after));
  map.drawPages(after, capacity, item.seed);
  // Rows before the first request and behind the last belong to none.
  constexpr int64_t leading = 2, trailing = 1;
  int64_t rows = leading + std::accumulate(item.added.begin(), item.added.end(), int64_t(0)) + trailing;
  oracle::Sizes sizes{rows, batch, capacity};

  oracle::Tensors exact;
  std::map<std::string, DeviceTensor> inputs;
  DeviceTensors tensors(driver);
  property::Random random(item.seed);
  for (const oracle::TensorSpec &spec : oracle::phaseTensors(variant, "append")) {
    oracle::Tensor tensor(sizes.of(spec.shape), isCacheName(spec.name) ? std::nan("") : 0.0);
    if (spec.name == "token_start") {
      tensor.data[0] = leading;
      for (size_t b = 0; b < item.added.size(); ++b)
        tensor.data[b + 1] = tensor.data[b] + static_cast<double>(item.added[b]);
    } else if (spec.name == "lengths") {
      std::ranges::copy(item.lengths, tensor.data.begin());
    } else if (spec.name == "positions") {
      size_t at = leading;
      for (size_t b = 0; b < item.added.size(); ++b)
        for (int64_t n = 0; n < item.added[b]; ++n)
          tensor.data[at++] = static_cast<double>(static_cast<int64_t>(b) * positionStep + item.lengths[b] + n);
    } else if (!isCacheName(spec.name)) {
      // Rows of unlike sizes, and now and then one of zeros.
      auto size = static_cast<size_t>(tensor.shape.back());
      bool isHead = spec.name.find("_head") != std::string::npos;
      double scale = isHead ? 3.0 : 1.0;
      for (size_t i = 0; i < tensor.data.size(); ++i) {
        if (i % size == 0 && !isHead)
          scale = random.chance(3) ? 0.0 : std::ldexp(1.0, static_cast<int>(random.range(-3, 3)));
        tensor.data[i] = oracle::roundTo(spec.type, scale * random.signedUnit());
      }
    }
    if (!isCacheName(spec.name))
      inputs[spec.name] = tensors.upload(spec.type, tensor, item.isStrided);
    exact[spec.name] = std::move(tensor);
  }
  oracle::append(variant, sizes, exact);

  std::map<std::string, DeviceTensor> withList = inputs;
  tensors.placePages(inputs, map, /*isList=*/false, item.isStrided);
  tensors.placePages(withList, map, /*isList=*/true, item.isStrided);
  size_t cacheBytes = map.bytes(batch, capacity);
  DevicePointer cache = tensors.allocate(cacheBytes);
  std::vector<uint8_t> bytes(cacheBytes), first;
  for (int64_t blocks : {int64_t(1), int64_t(7), int64_t(4) * driver.multiprocessors()}) {
    driver.fill(cache, 0xff, cacheBytes);
    launcher.launch({"append", blocks, inputs, cache, rows, batch, capacity});
    driver.synchronize();
    driver.download(bytes.data(), cache, cacheBytes);
    checkAppended(variant, map, item, capacity, exact, bytes);
    if (first.empty())
      first = bytes;
    if (first != bytes)
      throw std::runtime_error("append: the cache differs with " + std::to_string(blocks) + " thread blocks");
  }
  if (map.pageSize() != 0) {
    driver.fill(cache, 0xff, cacheBytes);
    launcher.launch({"append", 7, withList, cache, rows, batch, capacity});
    driver.synchronize();
    driver.download(bytes.data(), cache, cacheBytes);
    if (first != bytes)
      throw std::runtime_error("append: the cache differs with a list of pages");
  }

  // Out of the cache, bit for bit, and back into an empty one.
  std::map<std::string, DeviceTensor> plain;
  oracle::Tensor lengths({batch});
  std::ranges::copy(after, lengths.data.begin());
  plain["lengths"] = tensors.upload(oracle::Type::i32, lengths, false);
  auto findPagesBy = [&](const std::map<std::string, DeviceTensor> &of) {
    for (const char *name : {"block_table", "page_starts"})
      if (map.pageSize() != 0)
        plain[name] = of.at(name);
  };
  findPagesBy(inputs);
  int64_t longest = *std::ranges::max_element(after);
  for (const CacheMap::Segment &segment : map.segments()) {
    std::string name = segment.tensor.substr(0, segment.tensor.size() - 6);
    std::vector<int64_t> shape = exact.at(segment.tensor).shape;
    shape[1] = longest;
    plain[name] = tensors.place(segment.type, shape, item.isStrided);
    driver.fill(plain[name].pointer, 0xff, plain[name].bytes);
  }
  launcher.launch({"export", 97, plain, cache, longest, batch, capacity});
  driver.synchronize();
  for (const CacheMap::Segment &segment : map.segments()) {
    std::string name = segment.tensor.substr(0, segment.tensor.size() - 6);
    std::vector<int64_t> shape = exact.at(segment.tensor).shape;
    shape[1] = longest;
    oracle::Tensor exported = tensors.download(segment.type, plain[name], shape);
    int64_t count = map.elementsOfToken(segment);
    for (int64_t b = 0; b < batch; ++b)
      for (int64_t m = 0; m < longest; ++m)
        map.forEach(segment, capacity, b, m, [&](int64_t number, size_t place) {
          double found = exported.data[static_cast<size_t>((b * longest + m) * count + number)];
          // Before the new tokens and beyond the end is poison.
          double expected = oracle::decode(segment.type, &bytes[place]);
          if (found != expected && !(std::isnan(found) && std::isnan(expected)))
            fail("export: " + segment.tensor, b, m, number, found, expected);
        });
  }
  driver.fill(cache, 0xff, cacheBytes);
  findPagesBy(withList);
  launcher.launch({"import", 64, plain, cache, longest, batch, capacity});
  driver.synchronize();
  std::vector<uint8_t> imported(cacheBytes);
  driver.download(imported.data(), cache, cacheBytes);
  if (imported != bytes)
    throw std::runtime_error("import: the cache is not what was exported");
  checkMerge(item);
}

void ElementChecker::checkMerge(const ElementCase &item) const {
  int64_t rows = std::accumulate(item.added.begin(), item.added.end(), int64_t(0));
  property::Random random(item.seed + 1);
  oracle::State states[2];
  DeviceTensors tensors(driver);
  std::map<std::string, DeviceTensor> arguments;
  oracle::Type outType = variant.output, lseType = variant.compute;
  for (size_t i : {0, 1}) {
    states[i].out = oracle::Tensor({rows, variant.localHeads(), variant.v.features()});
    states[i].lse = oracle::Tensor({rows, variant.localHeads()});
    for (double &value : states[i].out.data)
      value = oracle::roundTo(outType, random.signedUnit());
    auto features = static_cast<size_t>(variant.v.features());
    for (size_t row = 0; row < states[i].lse.data.size(); ++row) {
      bool isEmpty = random.chance(20);
      states[i].lse.data[row] = isEmpty ? -infinity : oracle::roundTo(lseType, 10 * random.signedUnit());
      for (size_t e = 0; isEmpty && e < features; ++e)
        states[i].out.data[row * features + e] = 0;
    }
    std::string number = std::to_string(i);
    arguments["out" + number] = tensors.upload(outType, states[i].out, item.isStrided);
    arguments["lse" + number] = tensors.upload(lseType, states[i].lse, item.isStrided);
  }
  oracle::State expected = oracle::merge(states[0], states[1]);
  for (bool isInPlace : {false, true}) {
    for (const char *name : {"out", "lse"}) {
      bool isOut = std::string(name) == "out";
      DeviceTensor &tensor = arguments[name];
      if (isInPlace) {
        tensor = arguments[std::string(name) + "0"];
      } else {
        tensor = tensors.place(isOut ? outType : lseType, (isOut ? expected.out : expected.lse).shape, item.isStrided);
        driver.fill(tensor.pointer, 0xff, tensor.bytes);
      }
    }
    launcher.launch({"merge", 31, arguments, 0, rows, 0, 0});
    driver.synchronize();
    oracle::Tensor out = tensors.download(outType, arguments["out"], expected.out.shape);
    oracle::Tensor lse = tensors.download(lseType, arguments["lse"], expected.lse.shape);
    for (const auto &[found, wanted, type] :
         {std::tuple(&out, &expected.out, outType), std::tuple(&lse, &expected.lse, lseType)})
      for (size_t i = 0; i < found->data.size(); ++i) {
        double value = wanted->data[i], error = std::fabs(found->data[i] - value);
        double before = 1e-5 * std::max(1.0, std::fabs(value));
        if (found->data[i] != value && !(error <= before + oracle::spacing(type, std::fabs(value) + before) / 2))
          fail(std::string("merge") + (isInPlace ? " in place" : "") + (found == &out ? ": out" : ": lse"), 0,
               static_cast<int64_t>(i), 0, found->data[i], value);
      }
  }
}

} // namespace tpac::gputest
