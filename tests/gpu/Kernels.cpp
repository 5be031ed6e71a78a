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

Kernels::Kernels(Driver &driver, const std::filesystem::path &folder, const nlohmann::json &description)
    : driver(driver), json(description), parsed(oracle::parseVariant(json.at("variant"))) {
  std::vector<char> image = readFile(folder / json.at("cubin").get<std::string>());
  auto load = [&](const char *kernel) {
    const nlohmann::json &entry = json.at(kernel);
    return driver.load(image, entry.at("name"), entry.at("shared_bytes"));
  };
  parts = load("parts");
  merge = load("merge");
  layoutRowBytes = json.at("cache").at("row_bytes");
  planes = json.at("cache").at("planes");
}

size_t Kernels::cacheBytes(int64_t batch, int64_t capacity) const {
  return static_cast<size_t>(batch * planes * capacity * layoutRowBytes);
}

int64_t Kernels::items(int64_t tokens) const { return tokens * json.at("head_tiles").get<int64_t>(); }

size_t Kernels::workspaceBytes(int64_t splits, int64_t tokens) const {
  return static_cast<size_t>((splits + items(tokens)) * json.at("record_bytes").get<int64_t>());
}

void Kernels::launch(const Call &call) const {
  Launch launch;
  for (const auto &name : json.at("tensors"))
    launch.parameters.push_back(call.tensors.at(name));
  launch.parameters.push_back(call.cache);
  launch.parameters.push_back(call.workspace);
  // Few parts per row are merged by one warp, many by all of a thread block.
  constexpr int64_t warpsOfMerge = 8, fewParts = 16;
  int64_t warpsOfRow = call.splits <= fewParts * items(call.tokens) ? 1 : warpsOfMerge;
  for (int64_t value : {call.batch, call.capacity, call.splits, warpsOfRow})
    launch.parameters.push_back(static_cast<uint64_t>(value));
  launch.function = parts;
  launch.blocks = call.splits;
  launch.threads = json.at("parts").at("threads");
  launch.sharedBytes = json.at("parts").at("shared_bytes");
  driver.launch(launch);
  launch.function = merge;
  int64_t rows = items(call.tokens) * json.at("rows").get<int64_t>();
  launch.blocks = (rows * warpsOfRow + warpsOfMerge - 1) / warpsOfMerge;
  launch.threads = json.at("merge").at("threads");
  launch.sharedBytes = json.at("merge").at("shared_bytes");
  launch.overlaps = json.at("overlaps");
  driver.launch(launch);
}

std::vector<uint8_t> Kernels::layOut(const oracle::Variant &variant, const Case &item,
                                     const oracle::Tensors &inputs) const {
  const nlohmann::json &layout = json.at("cache");
  int64_t mask = layout.at("swizzle_mask"), shift = layout.at("swizzle_shift");
  auto batch = static_cast<int64_t>(item.lengths.size());
  std::vector<uint8_t> bytes(cacheBytes(batch, item.capacity), 0xff);
  for (const nlohmann::json &segment : layout.at("segments")) {
    std::string tensor = segment.at("tensor");
    const oracle::Tensor &source = inputs.at(tensor);
    oracle::Type type = oracle::parseType(segment.at("type").get<std::string>());
    auto size = static_cast<int64_t>(oracle::typeSize(type));
    int64_t ranks = segment.at("ranks"), elements = segment.at("size"), pitch = segment.at("pitch"),
            offset = segment.at("offset");
    for (int64_t b = 0; b < batch; ++b)
      for (int64_t m = 0; m < item.lengths[static_cast<size_t>(b)]; ++m)
        for (int64_t plane = 0; plane < planes; ++plane)
          for (int64_t rank = 0; rank < ranks; ++rank)
            for (int64_t i = 0; i < elements; ++i) {
              int64_t from = (((b * item.capacity + m) * planes + plane) * ranks + rank) * elements + i;
              int64_t within = offset + rank * pitch + i * size;
              within ^= ((m >> shift) & mask) * 16;
              int64_t to = ((b * planes + plane) * item.capacity + m) * layoutRowBytes + within;
              oracle::encode(type, source.data[static_cast<size_t>(from)], &bytes[static_cast<size_t>(to)]);
            }
  }
  return bytes;
}

DeviceTensors::~DeviceTensors() {
  for (DevicePointer pointer : owned)
    driver.release(pointer);
}

DevicePointer DeviceTensors::allocate(size_t bytes) {
  owned.push_back(driver.allocate(bytes));
  return owned.back();
}

DevicePointer DeviceTensors::upload(oracle::Type type, const oracle::Tensor &tensor) {
  size_t size = oracle::typeSize(type);
  std::vector<uint8_t> bytes(tensor.data.size() * size);
  for (size_t i = 0; i < tensor.data.size(); ++i)
    oracle::encode(type, tensor.data[i], &bytes[i * size]);
  DevicePointer pointer = allocate(bytes.size());
  if (!bytes.empty())
    driver.upload(pointer, bytes.data(), bytes.size());
  return pointer;
}

oracle::Tensor DeviceTensors::download(oracle::Type type, DevicePointer from, std::vector<int64_t> shape) {
  oracle::Tensor tensor(std::move(shape));
  size_t size = oracle::typeSize(type);
  std::vector<uint8_t> bytes(tensor.data.size() * size);
  if (!bytes.empty())
    driver.download(bytes.data(), from, bytes.size());
  for (size_t i = 0; i < tensor.data.size(); ++i)
    tensor.data[i] = oracle::decode(type, &bytes[i * size]);
  return tensor;
}

} // namespace tpac::gputest
