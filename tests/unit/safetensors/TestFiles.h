// SPDX-License-Identifier: Apache-2.0
//
// Files for the tests of the safetensors library: a directory of its own per test, files made byte by byte.

#ifndef TPAC_TESTS_UNIT_SAFETENSORS_TESTFILES_H
#define TPAC_TESTS_UNIT_SAFETENSORS_TESTFILES_H

#include <gtest/gtest.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <stdlib.h>
#include <string>

namespace tpac::safetensors {

/// A fixture with an empty directory that is removed afterwards.
class FileTest : public ::testing::Test {
protected:
  void SetUp() override {
    std::string pattern = (std::filesystem::temp_directory_path() / "safetensors-test-XXXXXX").string();
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    directory = pattern;
  }
  void TearDown() override { std::filesystem::remove_all(directory); }

  std::filesystem::path directory;
};

inline void writeBytes(const std::filesystem::path &path, const std::string &bytes) {
  std::ofstream stream(path, std::ios::binary);
  stream << bytes;
  ASSERT_TRUE(stream.flush());
}

inline std::string readBytes(const std::filesystem::path &path) {
  std::ifstream stream(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

/// The eight bytes in front of the header.
inline std::string lengthPrefix(uint64_t length) {
  std::string bytes;
  for (int i = 0; i < 8; ++i)
    bytes += static_cast<char>(length >> (8 * i));
  return bytes;
}

/// `header` and that many zero bytes of data as a file.
inline std::string fileBytes(const std::string &header, size_t dataBytes) {
  return lengthPrefix(header.size()) + header + std::string(dataBytes, '\0');
}

} // namespace tpac::safetensors

#endif // TPAC_TESTS_UNIT_SAFETENSORS_TESTFILES_H
