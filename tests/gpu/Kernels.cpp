// SPDX-License-Identifier: Apache-2.0

#include "tests/gpu/Kernels.h"

#include <algorithm>
#include <fstream>
#include <iterator>

namespace tpac::gputest {

std::vector<char> readFile(const std::filesystem::path &path) {
  std::ifstream stream(path, std::ios::binary);
  if (!stream)
    throw std::runtime_error(path.string() + " cannot be read");
  return std::vector<char>(std::istreambuf_iterator<char>(stream), {});
}

void addParameters(Launch &launch, const DeviceTensor &tensor) {
  launch.parameters.push_back(tensor.pointer);
  if (tensor.strides.size() > 1)
    for (int64_t stride : tensor.strides)
      launch.parameters.push_back(static_cast<uint64_t>(stride));
}

Kernels::Kernels(Driver &driver, const std::filesystem::path &folder, const nlohmann::json &description)
    : driver(driver), json(description), parsed(oracle::parseVariant(json.at("variant"))), map(json.at("cache")) {
  std::vector<char> image = readFile(folder / json.at("image").get<std::string>());
  auto load = [&](const char *kernel) {
    const nlohmann::json &entry = json.at(kernel);
    return driver.load(image, entry.at("name"), entry.at("shared_bytes"));
  };
  parts = load("parts");
  merge = load("merge");
}

int64_t Kernels::items(int64_t tokens) const { return tokens * json.at("head_tiles").get<int64_t>(); }

size_t Kernels::workspaceBytes(const Call &call) const {
  int64_t records = call.splits + items(call.tokens);
  if (call.blocksOfPart != 0) {
    int64_t tokens = call.blocksOfPart * json.at("tokens_of_block").get<int64_t>();
    records = items(call.tokens) * std::max<int64_t>((call.capacity + tokens - 1) / tokens, 1);
  }
  return static_cast<size_t>(records * json.at("record_bytes").get<int64_t>());
}

void Kernels::launch(const Call &call) const {
  Launch launch;
  for (const auto &name : json.at("tensors"))
    addParameters(launch, call.tensors.at(name));
  launch.parameters.push_back(call.cache);
  launch.parameters.push_back(call.workspace);
  // Few parts per row are merged by one warp, many by all of a thread block; so are few rows, one of which may have
  // nearly all parts. Between them four warps leave no more thread blocks than run at once. With parts of a fixed size
  // the number must not depend on the batch.
  constexpr int64_t warpsOfMerge = 8, warpsBetween = 4, fewParts = 16, fewRows = 1024, fewestRows = 256;
  int64_t rows = items(call.tokens) * json.at("rows").get<int64_t>();
  bool isFew = call.splits <= fewParts * items(call.tokens) && rows > fewestRows && call.blocksOfPart == 0;
  int64_t warpsOfFew = rows > fewRows ? 1 : warpsBetween;
  int64_t warpsOfRow = call.warpsOfRow != 0 ? call.warpsOfRow : isFew ? warpsOfFew : warpsOfMerge;
  int64_t splits = call.blocksOfPart != 0 ? -call.blocksOfPart : call.splits;
  for (int64_t value : {call.batch, call.capacity, splits, warpsOfRow})
    launch.parameters.push_back(static_cast<uint64_t>(value));
  launch.function = parts;
  launch.blocks = call.splits;
  launch.threads = json.at("parts").at("threads");
  launch.sharedBytes = json.at("parts").at("shared_bytes");
  driver.launch(launch);
  launch.function = merge;
  launch.blocks = (rows * warpsOfRow + warpsOfMerge - 1) / warpsOfMerge;
  launch.threads = json.at("merge").at("threads");
  launch.sharedBytes = json.at("merge").at("shared_bytes");
  launch.overlaps = json.at("overlaps");
  driver.launch(launch);
}

DeviceTensors::~DeviceTensors() {
  // After a kernel's fault every call fails; what says so is the exception that is under way.
  try {
    for (DevicePointer pointer : owned)
      driver.release(pointer);
  } catch (const std::runtime_error &) {
  }
}

DevicePointer DeviceTensors::allocate(size_t bytes) {
  owned.push_back(driver.allocate(bytes));
  return owned.back();
}

DeviceTensor DeviceTensors::place(oracle::Type type, const std::vector<int64_t> &shape, bool isStrided) {
  DeviceTensor tensor;
  tensor.strides.assign(shape.size(), 1);
  int64_t count = 1;
  if (isStrided && shape.size() > 1) {
    constexpr int64_t gap = 5;
    for (size_t i = 1; i < shape.size(); ++i) {
      tensor.strides[i] = count;
      count *= shape[i];
    }
    tensor.strides[0] = count + gap;
    count = tensor.strides[0] * shape[0];
  } else {
    for (size_t i = shape.size(); i-- > 0;) {
      tensor.strides[i] = count;
      count *= shape[i];
    }
  }
  tensor.bytes = static_cast<size_t>(count) * oracle::typeSize(type);
  tensor.pointer = allocate(tensor.bytes);
  return tensor;
}

/// Calls `visit(number, place)` for each element: its number in row-major order, and its place in elements.
template <typename Visit>
static void forEachPlace(const std::vector<int64_t> &shape, const std::vector<int64_t> &strides, Visit visit) {
  std::vector<int64_t> index(shape.size(), 0);
  size_t count = 1;
  for (int64_t size : shape)
    count *= static_cast<size_t>(size);
  for (size_t number = 0; number < count; ++number) {
    int64_t at = 0;
    for (size_t i = 0; i < shape.size(); ++i)
      at += index[i] * strides[i];
    visit(number, static_cast<size_t>(at));
    for (size_t i = shape.size(); i-- > 0 && ++index[i] == shape[i];)
      index[i] = 0;
  }
}

DeviceTensor DeviceTensors::upload(oracle::Type type, const oracle::Tensor &tensor, bool isStrided) {
  DeviceTensor result = place(type, tensor.shape, isStrided);
  size_t size = oracle::typeSize(type);
  std::vector<uint8_t> bytes(result.bytes, 0xff);
  forEachPlace(tensor.shape, result.strides,
               [&](size_t number, size_t at) { oracle::encode(type, tensor.data[number], &bytes[at * size]); });
  if (!bytes.empty())
    driver.upload(result.pointer, bytes.data(), bytes.size());
  return result;
}

void DeviceTensors::placePages(std::map<std::string, DeviceTensor> &tensors, const CacheMap &map, bool isList,
                               bool isStrided) {
  if (map.pageSize() == 0)
    return;
  if (!isList) {
    tensors["block_table"] = upload(oracle::Type::i32, map.table(), isStrided);
    tensors["page_starts"] = DeviceTensor();
    return;
  }
  const CacheMap::List list = map.list();
  DeviceTensor &table = tensors["block_table"] = upload(oracle::Type::i32, list.pages, isStrided);
  table.strides = {1, 1};
  tensors["page_starts"] = upload(oracle::Type::i32, list.starts, isStrided);
}

oracle::Tensor DeviceTensors::download(oracle::Type type, const DeviceTensor &from, std::vector<int64_t> shape) {
  oracle::Tensor tensor(std::move(shape));
  size_t size = oracle::typeSize(type);
  std::vector<uint8_t> bytes(from.bytes);
  if (!bytes.empty())
    driver.download(bytes.data(), from.pointer, bytes.size());
  std::vector<bool> isOwned(bytes.size(), false);
  forEachPlace(tensor.shape, from.strides, [&](size_t number, size_t at) {
    tensor.data[number] = oracle::decode(type, &bytes[at * size]);
    std::fill_n(isOwned.begin() + static_cast<std::ptrdiff_t>(at * size), size, true);
  });
  for (size_t i = 0; i < bytes.size(); ++i)
    if (!isOwned[i] && bytes[i] != 0xff)
      throw std::runtime_error("byte " + std::to_string(i) + " between a tensor's elements was written");
  return tensor;
}

} // namespace tpac::gputest
