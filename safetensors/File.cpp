// SPDX-License-Identifier: Apache-2.0
//
// The checks that File::open makes, in the order in which the bytes are trusted: size, header length, JSON, entries,
// then the byte ranges of all tensors together.

#include "safetensors/File.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <limits>
#include <numeric>
#include <set>
#include <stdexcept>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

namespace tpac::safetensors {

namespace {

using Json = nlohmann::json;

constexpr size_t lengthBytes = 8;
/// The format's own limit: a longer header is taken for an attack.
constexpr uint64_t maxHeaderBytes = 100'000'000;
/// Of a found value, that much goes into a message.
constexpr size_t maxShownCharacters = 80;
/// Valid headers are 3 deep; printing a value recurses, so hostile depths are stopped here.
constexpr int maxJsonDepth = 16;

[[noreturn]] void fail(const std::filesystem::path &path, const std::string &message) {
  throw std::runtime_error(path.string() + ": " + message);
}

/// As JSON in ASCII: names in messages stay readable and valid whatever they hold.
std::string asciiJson(const Json &value) { return value.dump(-1, ' ', true, Json::error_handler_t::replace); }

std::string inQuotes(std::string_view name) { return asciiJson(name); }

std::string shown(const Json &value) {
  std::string text = asciiJson(value);
  if (text.size() > maxShownCharacters)
    text = text.substr(0, maxShownCharacters) + "...";
  return text;
}

class FileDescriptor {
public:
  explicit FileDescriptor(const std::filesystem::path &path) : descriptor(::open(path.c_str(), O_RDONLY | O_CLOEXEC)) {
    if (descriptor < 0)
      fail(path, std::string("cannot be opened: ") + std::strerror(errno));
  }
  ~FileDescriptor() { ::close(descriptor); }
  FileDescriptor(const FileDescriptor &) = delete;
  FileDescriptor &operator=(const FileDescriptor &) = delete;

  const int descriptor;
};

/// Parses the header. nlohmann::json keeps the last of two equal keys, so duplicates are caught while parsing.
Json parseHeader(const std::filesystem::path &path, std::string_view text) {
  std::vector<std::set<std::string>> keysOfOpenObjects;
  auto checkKeys = [&](int depth, Json::parse_event_t event, Json &parsed) {
    if (depth > maxJsonDepth)
      fail(path, "header: found values nested more than " + std::to_string(maxJsonDepth) +
                     " deep, accepted is one JSON object of tensors");
    if (event == Json::parse_event_t::object_start)
      keysOfOpenObjects.emplace_back();
    else if (event == Json::parse_event_t::object_end)
      keysOfOpenObjects.pop_back();
    else if (event == Json::parse_event_t::key &&
             !keysOfOpenObjects.back().insert(parsed.get_ref<const std::string &>()).second)
      fail(path, "header: found key " + shown(parsed) + " twice, accepted once");
    return true;
  };
  Json header;
  try {
    header = Json::parse(text, checkKeys);
  } catch (const Json::exception &error) {
    fail(path, std::string("header: found no valid JSON (") + error.what() + "), accepted is one JSON object");
  }
  if (!header.is_object())
    fail(path, "header: found " + shown(header) + ", accepted is one JSON object");
  if (text.front() != '{')
    fail(path, "header: found white space before its '{', accepted is '{' as the first byte");
  return header;
}

/// One header entry, still to be compared with the others.
class EntryReader {
public:
  EntryReader(const std::filesystem::path &path, const std::string &name, const Json &entry,
              std::span<const std::byte> data)
      : path(path), name(name), entry(entry), data(data) {}

  View read() {
    if (!entry.is_object())
      failEntry("found " + shown(entry) + ", accepted is an object with dtype, shape and data_offsets");
    for (const auto &[key, value] : entry.items())
      if (key != "dtype" && key != "shape" && key != "data_offsets")
        failEntry("found unknown field " + inQuotes(key) + ", accepted are dtype, shape and data_offsets");
    View view;
    view.dtype = readDtype();
    view.shape = readShape();
    view.bytes = readBytes();
    std::optional<int64_t> bytes = elementCount(view.shape);
    if (!bytes || __builtin_mul_overflow(*bytes, static_cast<int64_t>(dtypeSize(view.dtype)), &*bytes))
      failEntry("shape: found " + shapeText(view.shape) + ", accepted is a size in bytes below 2^63");
    if (static_cast<uint64_t>(*bytes) != view.bytes.size())
      failEntry("data_offsets: found " + std::to_string(view.bytes.size()) + " bytes, accepted are the " +
                std::to_string(*bytes) + " bytes of " + shapeText(view.shape) + " " +
                std::string(dtypeName(view.dtype)));
    return view;
  }

private:
  [[noreturn]] void failEntry(const std::string &message) { fail(path, "tensor " + inQuotes(name) + ": " + message); }

  const Json &field(const char *key) {
    auto it = entry.find(key);
    if (it == entry.end())
      failEntry(std::string(key) + ": found none, accepted is one");
    return *it;
  }

  Dtype readDtype() {
    const Json &found = field("dtype");
    std::optional<Dtype> dtype;
    if (found.is_string())
      dtype = parseDtype(found.get_ref<const std::string &>());
    if (!dtype)
      failEntry("dtype: found " + shown(found) + ", accepted: " + acceptedDtypes());
    return *dtype;
  }

  /// `found` as a non-negative integer below 2^63, or nothing.
  static std::optional<int64_t> size(const Json &found) {
    if (!found.is_number_unsigned() ||
        found.get<uint64_t>() > static_cast<uint64_t>(std::numeric_limits<int64_t>::max()))
      return std::nullopt;
    return found.get<int64_t>();
  }

  std::vector<int64_t> readShape() {
    const Json &found = field("shape");
    std::vector<int64_t> shape;
    bool valid = found.is_array();
    for (size_t i = 0; valid && i < found.size(); ++i) {
      std::optional<int64_t> dimension = size(found[i]);
      valid = dimension.has_value();
      shape.push_back(dimension.value_or(0));
    }
    if (!valid)
      failEntry("shape: found " + shown(found) + ", accepted is a list of integers from 0 to 2^63 - 1");
    return shape;
  }

  std::span<const std::byte> readBytes() {
    const Json &found = field("data_offsets");
    std::optional<int64_t> begin, end;
    if (found.is_array() && found.size() == 2) {
      begin = size(found[0]);
      end = size(found[1]);
    }
    if (!begin || !end || *begin > *end)
      failEntry("data_offsets: found " + shown(found) + ", accepted is [begin, end] with 0 <= begin <= end");
    if (static_cast<uint64_t>(*end) > data.size())
      failEntry("data_offsets: found " + shown(found) + ", accepted are ends up to " + std::to_string(data.size()) +
                ", the bytes after the header");
    return data.subspan(*begin, *end - *begin);
  }

  const std::filesystem::path &path;
  const std::string &name;
  const Json &entry;
  std::span<const std::byte> data;
};

/// The tensors must cover `data` one after another.
void checkCoverage(const std::filesystem::path &path, const std::map<std::string, View, std::less<>> &tensors,
                   std::span<const std::byte> data) {
  std::vector<const std::pair<const std::string, View> *> order;
  for (const auto &tensor : tensors)
    order.push_back(&tensor);
  // A tensor without elements stands before one that begins at the same byte.
  std::ranges::sort(order, {}, [](const auto *tensor) {
    return std::pair(tensor->second.bytes.data(), tensor->second.bytes.size());
  });
  const std::byte *covered = data.data();
  const std::string *last = nullptr;
  auto failHole = [&](const std::byte *end) {
    fail(path, "data: found bytes " + std::to_string(covered - data.data()) + " to " +
                   std::to_string(end - data.data()) +
                   " in no tensor, accepted are tensors that cover the data without holes");
  };
  for (const auto *tensor : order) {
    const auto &[name, view] = *tensor;
    if (view.bytes.data() < covered)
      fail(path, "tensor " + inQuotes(name) + ": data_offsets: found an overlap with tensor " + inQuotes(*last) +
                     ", accepted are tensors that share no byte");
    if (view.bytes.data() > covered)
      failHole(view.bytes.data());
    covered += view.bytes.size();
    last = &name;
  }
  if (covered != data.data() + data.size())
    failHole(data.data() + data.size());
}

size_t editDistance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 0; i < a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i + 1;
    for (size_t j = 0; j < b.size(); ++j) {
      size_t replaced = diagonal + (a[i] != b[j]);
      diagonal = row[j + 1];
      row[j + 1] = std::min({replaced, row[j] + 1, row[j + 1] + 1});
    }
  }
  return row.back();
}

} // namespace

/// The whole file in memory, read-only.
class File::Mapping {
public:
  explicit Mapping(const std::filesystem::path &path) {
    FileDescriptor file(path);
    struct stat status;
    if (::fstat(file.descriptor, &status) != 0)
      fail(path, std::string("cannot be read: ") + std::strerror(errno));
    if (!S_ISREG(status.st_mode))
      fail(path, "found no regular file, accepted is a safetensors file");
    size = static_cast<size_t>(status.st_size);
    if (size < lengthBytes)
      fail(path, "found " + std::to_string(size) + " bytes, accepted are at least the 8 bytes of the header length");
    address = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file.descriptor, 0);
    if (address == MAP_FAILED)
      fail(path, std::string("cannot be mapped: ") + std::strerror(errno));
  }
  ~Mapping() { ::munmap(address, size); }
  Mapping(const Mapping &) = delete;
  Mapping &operator=(const Mapping &) = delete;

  std::span<const std::byte> bytes() const { return {static_cast<const std::byte *>(address), size}; }

private:
  void *address;
  size_t size;
};

File File::open(const std::filesystem::path &path) { return File(path); }

File::File(const std::filesystem::path &path) : filePath(path), mapping(std::make_shared<Mapping>(path)) {
  std::span<const std::byte> bytes = mapping->bytes();
  uint64_t headerBytes = 0;
  for (size_t i = 0; i < lengthBytes; ++i)
    headerBytes |= std::to_integer<uint64_t>(bytes[i]) << (8 * i);
  if (headerBytes > maxHeaderBytes)
    fail(path, "header length: found " + std::to_string(headerBytes) + ", accepted are at most " +
                   std::to_string(maxHeaderBytes) + " bytes");
  if (headerBytes > bytes.size() - lengthBytes)
    fail(path, "header length: found " + std::to_string(headerBytes) + ", accepted are at most the " +
                   std::to_string(bytes.size() - lengthBytes) + " bytes that follow in the file");
  std::span<const std::byte> data = bytes.subspan(lengthBytes + headerBytes);
  Json header =
      parseHeader(path, {reinterpret_cast<const char *>(bytes.data()) + lengthBytes, static_cast<size_t>(headerBytes)});

  for (const auto &[name, entry] : header.items()) {
    if (name != "__metadata__") {
      tensors.emplace(name, EntryReader(path, name, entry, data).read());
      continue;
    }
    if (!entry.is_object())
      fail(path, "__metadata__: found " + shown(entry) + ", accepted is an object of strings");
    for (const auto &[key, value] : entry.items()) {
      if (!value.is_string())
        fail(path, "__metadata__: " + inQuotes(key) + ": found " + shown(value) + ", accepted is a string");
      metadataStrings.emplace(key, value.get<std::string>());
    }
  }
  checkCoverage(path, tensors, data);
}

std::vector<std::string> File::names() const {
  std::vector<std::string> names;
  for (const auto &[name, view] : tensors)
    names.push_back(name);
  return names;
}

const View &File::tensor(std::string_view name) const {
  auto it = tensors.find(name);
  if (it != tensors.end())
    return it->second;
  std::vector<std::string> nearest = names();
  std::ranges::sort(nearest, {}, [&](const std::string &other) { return std::pair(editDistance(name, other), other); });
  std::string text;
  for (size_t i = 0; i < std::min<size_t>(nearest.size(), 5); ++i)
    text += (i == 0 ? "" : ", ") + inQuotes(nearest[i]);
  fail(filePath, "tensor " + inQuotes(name) + ": found none; " +
                     (text.empty() ? "the file holds no tensors"
                                   : "nearest of " + std::to_string(nearest.size()) + " names: " + text));
}

} // namespace tpac::safetensors
