// SPDX-License-Identifier: Apache-2.0
//
// Builds the header, writes into a temporary file beside the target and renames it.

#include "safetensors/Write.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <stdexcept>
#include <unistd.h>
#include <vector>

namespace tpac::safetensors {

namespace {

using Json = nlohmann::json;
using Entry = std::pair<const std::string, View>;

constexpr size_t alignment = 8;

/// A new file beside its target, removed again unless it was renamed to it.
class TemporaryFile {
public:
  explicit TemporaryFile(const std::filesystem::path &target) : target(target) {
    // Not mkstemp: it would make the file unreadable for others whatever the umask says.
    for (int attempt = 0; descriptor < 0; ++attempt) {
      temporary = target;
      temporary += ".tmp" + std::to_string(::getpid()) + "-" + std::to_string(attempt);
      descriptor = ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
      if (descriptor < 0 && errno != EEXIST)
        failTarget("cannot be created");
    }
  }
  ~TemporaryFile() {
    if (descriptor >= 0)
      ::close(descriptor);
    if (!renamed)
      ::unlink(temporary.c_str());
  }
  TemporaryFile(const TemporaryFile &) = delete;
  TemporaryFile &operator=(const TemporaryFile &) = delete;

  void append(std::span<const std::byte> bytes) {
    while (!bytes.empty()) {
      ssize_t count = ::write(descriptor, bytes.data(), bytes.size());
      if (count < 0 && errno == EINTR)
        continue;
      if (count < 0)
        failTarget("cannot be written");
      bytes = bytes.subspan(count);
    }
  }

  void renameToTarget() {
    if (::fsync(descriptor) != 0)
      failTarget("cannot be written");
    int status = ::close(descriptor);
    descriptor = -1;
    if (status != 0)
      failTarget("cannot be written");
    if (::rename(temporary.c_str(), target.c_str()) != 0)
      failTarget("cannot be replaced");
    renamed = true;
  }

private:
  [[noreturn]] void failTarget(const std::string &what) {
    throw std::runtime_error(target.string() + ": " + what + ": " + std::strerror(errno));
  }

  std::filesystem::path target;
  std::filesystem::path temporary;
  int descriptor = -1;
  bool renamed = false;
};

void checkTensor(const std::string &name, const View &view) {
  if (name == "__metadata__")
    throw std::invalid_argument("tensor name: found \"__metadata__\", which the format keeps for itself");
  std::optional<int64_t> bytes = elementCount(view.shape);
  if (!bytes || __builtin_mul_overflow(*bytes, static_cast<int64_t>(dtypeSize(view.dtype)), &*bytes) ||
      static_cast<uint64_t>(*bytes) != view.bytes.size())
    throw std::invalid_argument("tensor \"" + name + "\": found " + std::to_string(view.bytes.size()) +
                                " bytes, accepted is the size of " + shapeText(view.shape) + " " +
                                std::string(dtypeName(view.dtype)));
}

} // namespace

void write(const std::filesystem::path &path, const std::map<std::string, View> &tensors,
           const std::map<std::string, std::string> &metadata) {
  std::vector<const Entry *> order;
  for (const Entry &entry : tensors) {
    checkTensor(entry.first, entry.second);
    order.push_back(&entry);
  }
  std::ranges::sort(order, {}, [](const Entry *entry) {
    return std::pair(-static_cast<int>(dtypeSize(entry->second.dtype)), std::string_view(entry->first));
  });

  Json header = Json::object();
  if (!metadata.empty())
    header["__metadata__"] = metadata;
  size_t offset = 0;
  for (const Entry *entry : order) {
    const auto &[name, view] = *entry;
    size_t end = offset + view.bytes.size();
    header[name] = {{"dtype", dtypeName(view.dtype)}, {"shape", view.shape}, {"data_offsets", {offset, end}}};
    offset = end;
  }
  std::string text;
  try {
    text = header.dump();
  } catch (const Json::exception &error) {
    throw std::invalid_argument(std::string("tensor names and metadata: accepted is UTF-8, found: ") + error.what());
  }
  text.append((alignment - text.size() % alignment) % alignment, ' ');

  std::array<std::byte, 8> length;
  for (size_t i = 0; i < length.size(); ++i)
    length[i] = static_cast<std::byte>(static_cast<uint64_t>(text.size()) >> (8 * i));

  TemporaryFile file(path);
  file.append(length);
  file.append(std::as_bytes(std::span(text)));
  for (const Entry *entry : order)
    file.append(entry->second.bytes);
  file.renameToTarget();
}

} // namespace tpac::safetensors
