// SPDX-License-Identifier: Apache-2.0
//
// What safetensors::write leaves on disk, and that it leaves nothing half-written.

#include "safetensors/Convert.h"
#include "safetensors/File.h"
#include "safetensors/Write.h"
#include "tests/unit/safetensors/TestFiles.h"

#include <algorithm>
#include <stdexcept>

namespace tpac::safetensors {
namespace {

class WriteTest : public FileTest {
protected:
  std::filesystem::path path() const { return directory / "model.safetensors"; }

  std::vector<std::string> files() const {
    std::vector<std::string> names;
    for (const auto &entry : std::filesystem::directory_iterator(directory))
      names.push_back(entry.path().filename());
    std::ranges::sort(names);
    return names;
  }
};

TEST_F(WriteTest, RoundTrip) {
  std::vector<int8_t> small = {1, -2, 3};
  std::vector<double> large = {0.1, -1e300};
  std::vector<std::byte> half = fromDouble(std::vector<double>{1, 2, 3, 4, 5, 6}, Dtype::BF16);
  std::map<std::string, View> tensors = {
      {"a.small", {Dtype::I8, {3}, std::as_bytes(std::span(small))}},
      {"b.half", {Dtype::BF16, {2, 3}, half}},
      {"c.large", {Dtype::F64, {2, 1}, std::as_bytes(std::span(large))}},
      {"d.empty", {Dtype::F32, {4, 0}, {}}},
      {"e \"\\ \xc3\xa9", {Dtype::F64, {}, std::as_bytes(std::span(large)).first(8)}}};
  std::map<std::string, std::string> metadata = {{"format", "pt"}, {"note", "\n"}};
  write(path(), tensors, metadata);

  File file = File::open(path());
  EXPECT_EQ(file.metadata(), metadata);
  ASSERT_EQ(file.names().size(), tensors.size());
  for (const auto &[name, expected] : tensors) {
    const View &found = file.tensor(name);
    EXPECT_EQ(found.dtype, expected.dtype) << name;
    EXPECT_EQ(found.shape, expected.shape) << name;
    EXPECT_TRUE(std::ranges::equal(found.bytes, expected.bytes)) << name;
    EXPECT_EQ(reinterpret_cast<uintptr_t>(found.bytes.data()) % dtypeSize(found.dtype), 0u) << name;
  }
  EXPECT_EQ(files(), std::vector<std::string>{"model.safetensors"});
}

TEST_F(WriteTest, NoTensors) {
  write(path(), {});
  EXPECT_EQ(readBytes(path()), lengthPrefix(8) + "{}      ");
  EXPECT_TRUE(File::open(path()).names().empty());
}

TEST_F(WriteTest, ReplacesAFileThatIsStillRead) {
  std::vector<int8_t> before(5000, 1), after = {2};
  write(path(), {{"w", {Dtype::I8, {5000}, std::as_bytes(std::span(before))}}});
  File old = File::open(path());
  write(path(), {{"w", {Dtype::I8, {1}, std::as_bytes(std::span(after))}}});
  EXPECT_EQ(old.tensor("w").bytes.back(), std::byte{1});
  EXPECT_EQ(File::open(path()).tensor("w").bytes.size(), 1u);
}

TEST_F(WriteTest, InvalidTensorsLeaveTheOldFile) {
  writeBytes(path(), "old");
  std::vector<float> values = {1, 2};
  std::span<const std::byte> bytes = std::as_bytes(std::span(values));
  EXPECT_THROW(write(path(), {{"w", {Dtype::F32, {3}, bytes}}}), std::invalid_argument);
  EXPECT_THROW(write(path(), {{"w", {Dtype::F64, {2}, bytes}}}), std::invalid_argument);
  EXPECT_THROW(write(path(), {{"w", {Dtype::F32, {-2}, bytes}}}), std::invalid_argument);
  EXPECT_THROW(write(path(), {{"__metadata__", {Dtype::F32, {2}, bytes}}}), std::invalid_argument);
  EXPECT_THROW(write(path(), {{"\xff", {Dtype::F32, {2}, bytes}}}), std::invalid_argument);
  EXPECT_EQ(readBytes(path()), "old");
  EXPECT_EQ(files(), std::vector<std::string>{"model.safetensors"});
}

TEST_F(WriteTest, AFailedRenameLeavesNoTemporaryFile) {
  std::filesystem::create_directory(path());
  try {
    write(path(), {});
    ADD_FAILURE() << "no error";
  } catch (const std::runtime_error &error) {
    EXPECT_EQ(std::string(error.what()).rfind(path().string() + ": cannot be replaced: ", 0), 0u) << error.what();
  }
  EXPECT_EQ(files(), std::vector<std::string>{"model.safetensors"});
}

TEST_F(WriteTest, AMissingDirectoryIsAnError) {
  EXPECT_THROW(write(directory / "none" / "model.safetensors", {}), std::runtime_error);
}

} // namespace
} // namespace tpac::safetensors
