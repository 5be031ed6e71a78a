// SPDX-License-Identifier: Apache-2.0

#include "autotune/records/RecordFile.h"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <fstream>
#include <optional>
#include <stdexcept>
#include <sys/file.h>
#include <unistd.h>

namespace tpac::records {

using nlohmann::json;
namespace fs = std::filesystem;

namespace {

[[noreturn]] void fail(const fs::path &path, const std::string &what) {
  throw std::runtime_error(path.string() + ": " + what + ": " + std::strerror(errno));
}

class Descriptor {
public:
  Descriptor(const fs::path &path, int flags) : path(path), number(open(path.c_str(), flags | O_CLOEXEC, 0666)) {
    if (number < 0)
      fail(path, "cannot be opened");
  }
  ~Descriptor() { close(number); }
  Descriptor(const Descriptor &) = delete;
  Descriptor &operator=(const Descriptor &) = delete;

  void write(std::string_view text) const {
    while (!text.empty()) {
      ssize_t written = ::write(number, text.data(), text.size());
      if (written < 0 && errno == EINTR)
        continue;
      if (written < 0)
        fail(path, "cannot be written");
      text.remove_prefix(static_cast<size_t>(written));
    }
  }
  void sync() const {
    if (fsync(number) != 0)
      fail(path, "cannot be synced");
  }
  void lock() const {
    while (flock(number, LOCK_EX) != 0)
      if (errno != EINTR)
        fail(path, "cannot be locked");
  }

private:
  fs::path path;
  int number;
};

fs::path withSuffix(fs::path path, const char *suffix) {
  path += suffix;
  return path;
}

/// The lock of a file of records; the kernel releases that of a process that dies. A file of its own, since the file of
/// records is replaced.
class Lock {
public:
  explicit Lock(const fs::path &path) : file(withSuffix(path, ".lock"), O_RDWR | O_CREAT) { file.lock(); }

private:
  Descriptor file;
};

/// An entry is a line, so that files under version control merge by entries.
std::string textOf(const Contents &contents) {
  std::string text = "{\"entries\": [";
  auto add = [&, separator = "\n"](const json &entry) mutable {
    text += separator + entry.dump();
    separator = ",\n";
  };
  for (const Entry &entry : contents.entries)
    add(toJson(entry));
  for (const json &entry : contents.unread)
    add(entry);
  text += "\n]";
  json rest = contents.unknown;
  rest["schema"] = {{"major", schemaMajor}, {"minor", schemaMinor}};
  for (const auto &[name, value] : rest.items())
    text += ",\n" + json(name).dump() + ": " + value.dump();
  return text + "}\n";
}

/// Writes the file under its lock. The temporary file's name is always the same: only the lock's holder writes it, and
/// what a killed one left is overwritten.
void replace(const fs::path &path, const Contents &contents) {
  const fs::path temporary = withSuffix(path, ".tmp");
  {
    Descriptor file(temporary, O_WRONLY | O_CREAT | O_TRUNC);
    file.write(textOf(contents));
    file.sync();
  }
  if (rename(temporary.c_str(), path.c_str()) != 0)
    fail(path, "cannot be replaced");
  fs::path folder = path.parent_path();
  Descriptor(folder.empty() ? fs::path(".") : folder, O_RDONLY | O_DIRECTORY).sync();
}

/// What was parsed; nothing where the text is no JSON object.
std::optional<json> parsed(const std::string &text, const std::string &name, Contents &contents) {
  try {
    json file = json::parse(text);
    if (file.is_object())
      return file;
    contents.problems.push_back(name + ": found " + file.type_name() + "; expected an object");
  } catch (const json::parse_error &error) {
    contents.problems.push_back(name + ": is not JSON: " + error.what());
  }
  return std::nullopt;
}

int64_t majorOf(const json &file) {
  auto schema = file.find("schema");
  if (schema == file.end() || !schema->is_object() || !schema->contains("major") ||
      !schema->at("major").is_number_integer())
    return 0;
  return schema->at("major").get<int64_t>();
}

/// The contents, and whether the text was JSON at all.
std::pair<Contents, bool> read(const std::string &text, const std::string &name) {
  Contents contents;
  std::optional<json> file = parsed(text, name, contents);
  if (!file)
    return {contents, false};
  if (int64_t major = majorOf(*file); major != schemaMajor) {
    contents.problems.push_back(name + ": schema.major: found " + std::to_string(major) + "; expected " +
                                std::to_string(schemaMajor) + ": its records are not used, and it is not written");
    contents.isWritable = false;
    return {contents, true};
  }
  json entries = file->value("entries", json());
  if (!entries.is_array()) {
    contents.problems.push_back(name + ": entries: found " + entries.type_name() + "; expected an array");
    entries = json::array();
  }
  for (size_t i = 0; i < entries.size(); ++i)
    try {
      Entry entry = entryOf(entries[i]);
      mergeInto(contents.entries, {entry}, MergePolicy::faster);
    } catch (const std::exception &error) {
      contents.problems.push_back(name + ": entries[" + std::to_string(i) + "]: " + error.what());
      contents.unread.push_back(entries[i]);
    }
  file->erase("schema");
  file->erase("entries");
  contents.unknown = std::move(*file);
  return {contents, true};
}

std::pair<Contents, bool> load(const fs::path &path) {
  std::error_code error;
  if (!fs::exists(path, error) && !error)
    return {Contents(), true};
  std::ifstream stream(path, std::ios::binary);
  std::string text(std::istreambuf_iterator<char>(stream), {});
  if (stream)
    return read(text, path.string());
  Contents contents;
  contents.problems.push_back(path.string() + ": cannot be read");
  return {contents, false};
}

/// The contents under the lock, ready to be written again.
Contents loadToWrite(const fs::path &path) {
  auto [contents, isJson] = load(path);
  if (!contents.isWritable)
    throw std::runtime_error(contents.problems.front());
  if (!isJson) {
    const fs::path kept = withSuffix(path, ".damaged");
    if (rename(path.c_str(), kept.c_str()) != 0)
      fail(path, "cannot be moved aside");
    contents.problems.back() += "; kept as " + kept.string();
  }
  return contents;
}

} // namespace

Contents readRecords(const fs::path &path) { return load(path).first; }

Contents recordsOf(const std::string &text, const std::string &name) { return read(text, name).first; }

Contents updateRecords(const fs::path &path, const std::vector<Entry> &entries, MergePolicy policy) {
  if (path.has_parent_path())
    fs::create_directories(path.parent_path());
  Lock lock(path);
  Contents contents = loadToWrite(path);
  mergeInto(contents.entries, entries, policy);
  replace(path, contents);
  return contents;
}

size_t pruneRecords(const fs::path &path, const std::function<bool(const Entry &)> &keep) {
  Lock lock(path);
  Contents contents = loadToWrite(path);
  size_t gone = std::erase_if(contents.entries, [&](const Entry &entry) { return !keep(entry); });
  replace(path, contents);
  return gone;
}

} // namespace tpac::records
