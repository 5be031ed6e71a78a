// SPDX-License-Identifier: Apache-2.0
//
// Reads directories and POSIX tar archives (ustar; of pax headers the path, since other fields say nothing about a
// pack's files).

#include "runtime/packs/PackFiles.h"

#include "runtime/Failure.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <dlfcn.h>
#include <fstream>
#include <iterator>
#include <sys/mman.h>
#include <system_error>
#include <unistd.h>

namespace fs = std::filesystem;

namespace tpac::runtime {

namespace {

constexpr size_t blockSize = 512;

/// A field of a tar header: what stands before the first NUL.
std::string textField(std::string_view header, size_t offset, size_t size) {
  std::string_view field = header.substr(offset, size);
  return std::string(field.substr(0, std::min(field.find('\0'), field.size())));
}

/// An octal number; an error where the field holds something else.
size_t octalField(std::string_view header, size_t offset, size_t size) {
  size_t value = 0;
  bool isEmpty = true;
  for (char c : header.substr(offset, size)) {
    if (c == ' ' && isEmpty)
      continue;
    if (c == '\0' || c == ' ')
      break;
    if (c < '0' || c > '7')
      refuse("the archive is damaged: found '" + std::string(1, c) + "' in a number of a header");
    value = value * 8 + static_cast<size_t>(c - '0');
    isEmpty = false;
  }
  if (isEmpty)
    refuse("the archive is damaged: a number in a header is empty");
  return value;
}

void checkHeader(std::string_view header) {
  constexpr size_t sumOffset = 148, sumSize = 8;
  size_t sum = 0;
  for (size_t i = 0; i < blockSize; ++i)
    sum += i >= sumOffset && i < sumOffset + sumSize ? ' ' : static_cast<unsigned char>(header[i]);
  if (header.substr(257, 5) != "ustar")
    refuse(
        "found neither a directory nor a tar archive; expected the directory that 'tpac build' made, or a tar archive "
        "of it, not compressed");
  if (octalField(header, sumOffset, sumSize) != sum)
    refuse("the archive is damaged: the checksum of a header is wrong");
}

/// The path in a pax extended header, records "LENGTH KEY=VALUE\n"; empty where it has none.
std::string paxPath(std::string_view records) {
  std::string path;
  while (!records.empty()) {
    size_t length = 0, digits = 0;
    for (; digits < records.size() && records[digits] >= '0' && records[digits] <= '9' && length <= records.size();
         ++digits)
      length = length * 10 + static_cast<size_t>(records[digits] - '0');
    const bool isRecord = digits > 0 && length > digits + 1 && length <= records.size() && records[digits] == ' ' &&
                          records[length - 1] == '\n';
    if (!isRecord)
      refuse("the archive is damaged: a pax header holds no records 'LENGTH KEY=VALUE'");
    const std::string_view record = records.substr(digits + 1, length - digits - 2);
    if (record.starts_with("path="))
      path = record.substr(5);
    // A file that large is none of a pack.
    if (record.starts_with("size="))
      refuse("the archive holds a file whose size is in a pax header; expected files of less than 8 GiB");
    records.remove_prefix(length);
  }
  return path;
}

/// `path` without "./" before it.
std::string plain(std::string path) {
  while (path.starts_with("./"))
    path.erase(0, 2);
  return path;
}

std::string readWhole(const fs::path &path) {
  std::ifstream stream(path, std::ios::binary);
  std::string content(std::istreambuf_iterator<char>(stream), {});
  if (!stream.is_open() || stream.bad())
    throw Failure(TPAC_SYSTEM_ERROR, "cannot read " + path.string() + ": " + std::strerror(errno));
  return content;
}

void *openLibrary(const std::string &path, const std::string &name) {
  void *library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!library)
    throw Failure(TPAC_SYSTEM_ERROR, name + " cannot be loaded: " + dlerror());
  return library;
}

} // namespace

PackFiles PackFiles::open(const fs::path &path) {
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  if (!fs::exists(status))
    refuse(path.string() + ": no such file or directory");
  if (!fs::is_directory(status))
    return fromArchive(readWhole(path));
  PackFiles files;
  files.directory = fs::absolute(path);
  return files;
}

PackFiles PackFiles::fromArchive(std::string bytes) {
  PackFiles files;
  files.archive = std::move(bytes);
  std::string_view rest = files.archive;
  std::string root;
  /// Of the pax header before the file.
  std::string longPath;
  // Two blocks of zeros end an archive; one is enough to know.
  for (size_t position = 0;;) {
    if (rest.size() < position + blockSize)
      refuse(position == 0
                 ? "found a file of " + std::to_string(rest.size()) + " bytes; expected a tar archive of a pack"
                 : std::string("the archive is damaged: it ends in the middle"));
    std::string_view header = rest.substr(position, blockSize);
    if (header.find_first_not_of('\0') == std::string_view::npos)
      break;
    checkHeader(header);
    const std::string prefix = textField(header, 345, 155), name = textField(header, 0, 100);
    const size_t size = octalField(header, 124, 12);
    const std::string shortPath =
        header.substr(257, 6) == std::string_view("ustar\0", 6) && !prefix.empty() ? prefix + "/" + name : name;
    const std::string path = plain(longPath.empty() ? shortPath : longPath);
    position += blockSize;
    if (size > rest.size() - position)
      refuse("the archive is damaged: " + path + " ends behind its end");
    const char type = header[156];
    longPath = type == 'x' ? paxPath(rest.substr(position, size)) : "";
    if (type == '0' || type == '\0')
      files.ranges[path] = {position, size};
    else if (type == '5' && files.ranges.empty() && root.empty() && !path.empty())
      root = path; // An archive of the directory itself has its name before all others.
    else if (type != '5' && type != 'g' && type != 'x')
      refuse("the archive holds '" + path + "' of type '" + std::string(1, type) + "'; expected files and directories");
    position += (size + blockSize - 1) / blockSize * blockSize;
  }
  const bool hasRoot = !root.empty() && root.back() == '/' && std::ranges::all_of(files.ranges, [&](const auto &file) {
    return file.first.starts_with(root);
  });
  if (hasRoot) {
    std::map<std::string, Range> below;
    for (const auto &[path, range] : files.ranges)
      below[path.substr(root.size())] = range;
    files.ranges = std::move(below);
  }
  return files;
}

std::vector<std::string> PackFiles::manifests() const {
  std::vector<std::string> found;
  if (directory.empty()) {
    for (const auto &[path, range] : ranges)
      if (path.ends_with(".json") && path.find('/') == std::string::npos)
        found.push_back(path);
    return found;
  }
  std::error_code error;
  for (auto entry = fs::directory_iterator(directory, error); !error && entry != fs::directory_iterator();
       entry.increment(error))
    if (entry->path().extension() == ".json")
      found.push_back(entry->path().filename().string());
  if (error)
    throw Failure(TPAC_SYSTEM_ERROR, error.message());
  return found;
}

const PackFiles::Range &PackFiles::find(const std::string &file) const {
  auto found = ranges.find(file);
  if (found == ranges.end())
    refuse("file " + file + " is missing");
  return found->second;
}

size_t PackFiles::size(const std::string &file) const {
  if (directory.empty())
    return find(file).size;
  std::error_code error;
  const auto bytes = fs::file_size(directory / file, error);
  if (error)
    refuse("file " + file + ": " + error.message());
  return bytes;
}

std::string PackFiles::read(const std::string &file) const {
  if (!directory.empty())
    return readWhole(directory / file);
  const Range &range = find(file);
  return archive.substr(range.begin, range.size);
}

void *PackFiles::load(const std::string &file) const {
  if (!directory.empty())
    return openLibrary((directory / file).string(), file);
  // A file without a name: it goes when its last mapping goes.
  const std::string content = read(file);
  const int descriptor = memfd_create("tpac-pack", MFD_CLOEXEC);
  if (descriptor < 0)
    throw Failure(TPAC_SYSTEM_ERROR, std::string("memfd_create: ") + std::strerror(errno));
  struct Closer {
    int descriptor;
    ~Closer() { close(descriptor); }
  } closer{descriptor};
  for (size_t written = 0; written < content.size();) {
    const ssize_t count = write(descriptor, content.data() + written, content.size() - written);
    if (count < 0 && errno != EINTR)
      throw Failure(TPAC_SYSTEM_ERROR, std::string("write: ") + std::strerror(errno));
    written += count > 0 ? static_cast<size_t>(count) : 0;
  }
  return openLibrary("/proc/self/fd/" + std::to_string(descriptor), file);
}

} // namespace tpac::runtime
