// SPDX-License-Identifier: Apache-2.0
//
// What safetensors::File accepts, and its message for every rule that a file can break.

#include "safetensors/File.h"
#include "tests/unit/safetensors/TestFiles.h"

#include <cstring>
#include <stdexcept>

namespace tpac::safetensors {
namespace {

class ReadTest : public FileTest {
protected:
  std::filesystem::path path() const { return directory / "broken.safetensors"; }

  /// Opens a file of these bytes and expects a message that names the file and holds every part.
  void expectError(const std::string &bytes, std::initializer_list<const char *> parts) {
    writeBytes(path(), bytes);
    try {
      File::open(path());
    } catch (const std::runtime_error &error) {
      std::string message = error.what();
      EXPECT_EQ(message.rfind(path().string() + ": ", 0), 0u) << message;
      for (const char *part : parts)
        EXPECT_NE(message.find(part), std::string::npos) << "'" << part << "' is not in: " << message;
      return;
    }
    ADD_FAILURE() << "no error";
  }

  File open(const std::string &bytes) {
    writeBytes(path(), bytes);
    return File::open(path());
  }
};

/// One tensor "w" with this entry.
std::string header(const std::string &entry) { return R"({"w":)" + entry + "}"; }

TEST_F(ReadTest, ReadsTensorsAndMetadata) {
  std::string text = R"({"__metadata__":{"format":"pt"},"b":{"dtype":"I32","shape":[2],"data_offsets":[4,12]},)"
                     R"("a":{"dtype":"BF16","shape":[1,2],"data_offsets":[0,4]}}   )";
  File file = open(lengthPrefix(text.size()) + text + "abcdefghijkl");
  EXPECT_EQ(file.names(), (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(file.metadata(), (std::map<std::string, std::string>{{"format", "pt"}}));
  EXPECT_TRUE(file.contains("a"));
  EXPECT_FALSE(file.contains("__metadata__"));
  const View &b = file.tensor("b");
  EXPECT_EQ(b.dtype, Dtype::I32);
  EXPECT_EQ(b.shape, std::vector<int64_t>{2});
  ASSERT_EQ(b.bytes.size(), 8u);
  EXPECT_EQ(std::memcmp(b.bytes.data(), "efghijkl", 8), 0);
}

TEST_F(ReadTest, ViewsOutliveMovesOfTheFile) {
  File first = open(fileBytes(header(R"({"dtype":"U8","shape":[3],"data_offsets":[0,3]})"), 3));
  const std::byte *data = first.tensor("w").bytes.data();
  File second = std::move(first);
  EXPECT_EQ(second.tensor("w").bytes.data(), data);
}

TEST_F(ReadTest, AcceptsScalarsTensorsWithoutElementsAndNoTensors) {
  File file = open(fileBytes(R"({"empty":{"dtype":"F32","shape":[0,7],"data_offsets":[0,0]},)"
                             R"("end":{"dtype":"F64","shape":[0],"data_offsets":[8,8]},)"
                             R"("scalar":{"dtype":"F64","shape":[],"data_offsets":[0,8]}})",
                             8));
  EXPECT_TRUE(file.tensor("empty").bytes.empty());
  EXPECT_TRUE(file.tensor("scalar").shape.empty());
  EXPECT_EQ(file.tensor("scalar").bytes.size(), 8u);
  EXPECT_TRUE(open(fileBytes("{}", 0)).names().empty());
}

TEST_F(ReadTest, AcceptsEveryDtype) {
  for (Dtype dtype :
       {Dtype::Bool, Dtype::U8, Dtype::I8, Dtype::F8E5M2, Dtype::F8E4M3, Dtype::U16, Dtype::I16, Dtype::F16,
        Dtype::BF16, Dtype::U32, Dtype::I32, Dtype::F32, Dtype::U64, Dtype::I64, Dtype::F64}) {
    std::string bytes = std::to_string(3 * dtypeSize(dtype));
    File file = open(fileBytes(
        header(R"({"dtype":")" + std::string(dtypeName(dtype)) + R"(","shape":[3],"data_offsets":[0,)" + bytes + "]}"),
        3 * dtypeSize(dtype)));
    EXPECT_EQ(file.tensor("w").dtype, dtype);
  }
}

TEST_F(ReadTest, NoFile) {
  try {
    File::open(directory / "none");
    ADD_FAILURE() << "no error";
  } catch (const std::runtime_error &error) {
    EXPECT_EQ(error.what(), (directory / "none").string() + ": cannot be opened: No such file or directory");
  }
}

TEST_F(ReadTest, NoRegularFile) {
  EXPECT_THROW(
      {
        try {
          File::open(directory);
        } catch (const std::runtime_error &error) {
          EXPECT_NE(std::string(error.what()).find("found no regular file"), std::string::npos) << error.what();
          throw;
        }
      },
      std::runtime_error);
}

TEST_F(ReadTest, ShorterThanTheHeaderLength) {
  expectError("", {"found 0 bytes", "at least the 8 bytes"});
  expectError("1234567", {"found 7 bytes", "at least the 8 bytes"});
}

TEST_F(ReadTest, HeaderLengthBeyondTheFile) {
  expectError(lengthPrefix(3) + "{}", {"header length: found 3", "at most the 2 bytes"});
  expectError(lengthPrefix(1), {"header length: found 1", "at most the 0 bytes"});
}

TEST_F(ReadTest, HeaderLengthOverTheLimit) {
  expectError(lengthPrefix(100'000'001) + "{}", {"header length: found 100000001", "at most 100000000"});
  expectError(lengthPrefix(~uint64_t{0}) + "{}", {"header length: found 18446744073709551615"});
}

TEST_F(ReadTest, EveryTruncationOfAFileIsAnError) {
  std::string bytes = fileBytes(header(R"({"dtype":"F32","shape":[2],"data_offsets":[0,8]})"), 8);
  for (size_t size = 0; size < bytes.size(); ++size) {
    writeBytes(path(), bytes.substr(0, size));
    EXPECT_THROW(File::open(path()), std::runtime_error) << size << " of " << bytes.size() << " bytes";
  }
  EXPECT_NO_THROW(open(bytes));
}

TEST_F(ReadTest, HeaderIsNotJson) {
  expectError(fileBytes("", 0), {"header: found no valid JSON"});
  expectError(fileBytes("{", 0), {"header: found no valid JSON", "accepted is one JSON object"});
  expectError(fileBytes("{} {}", 0), {"header: found no valid JSON"});
  expectError(fileBytes("{\"\xff\":{}}", 0), {"header: found no valid JSON"});
}

TEST_F(ReadTest, HeaderIsNotAnObject) {
  expectError(fileBytes("[1]", 0), {"header: found [1]", "accepted is one JSON object"});
  expectError(fileBytes(" {}", 0), {"header: found white space", "'{' as the first byte"});
}

TEST_F(ReadTest, HeaderIsTooDeep) {
  size_t depth = 1'000'000;
  expectError(fileBytes("{\"w\":" + std::string(depth, '[') + std::string(depth, ']') + "}", 0),
              {"header: found values nested more than 16 deep"});
}

TEST_F(ReadTest, DuplicateKeys) {
  std::string entry = R"({"dtype":"U8","shape":[1],"data_offsets":[0,1]})";
  expectError(fileBytes(R"({"w":)" + entry + R"(,"w":)" + entry + "}", 1), {"header: found key \"w\" twice"});
  expectError(fileBytes(header(R"({"dtype":"U8","dtype":"I8","shape":[1],"data_offsets":[0,1]})"), 1),
              {"header: found key \"dtype\" twice", "accepted once"});
}

TEST_F(ReadTest, EntryIsNotAnObject) {
  expectError(fileBytes(header("[1]"), 0), {"tensor \"w\": found [1]", "an object with dtype, shape and data_offsets"});
}

TEST_F(ReadTest, EntryWithUnknownField) {
  expectError(fileBytes(header(R"({"dtype":"U8","shape":[1],"data_offsets":[0,1],"stride":[1]})"), 1),
              {"tensor \"w\": found unknown field \"stride\"", "accepted are dtype, shape and data_offsets"});
}

TEST_F(ReadTest, MissingFields) {
  expectError(fileBytes(header(R"({"shape":[1],"data_offsets":[0,1]})"), 1), {"tensor \"w\": dtype: found none"});
  expectError(fileBytes(header(R"({"dtype":"U8","data_offsets":[0,1]})"), 1), {"tensor \"w\": shape: found none"});
  expectError(fileBytes(header(R"({"dtype":"U8","shape":[1]})"), 1), {"tensor \"w\": data_offsets: found none"});
}

TEST_F(ReadTest, UnknownDtype) {
  expectError(fileBytes(header(R"({"dtype":"F33","shape":[1],"data_offsets":[0,1]})"), 1),
              {"tensor \"w\": dtype: found \"F33\"", "accepted: BOOL, U8,", "BF16"});
  expectError(fileBytes(header(R"({"dtype":7,"shape":[1],"data_offsets":[0,1]})"), 1),
              {"tensor \"w\": dtype: found 7"});
}

TEST_F(ReadTest, ShapeIsNotAListOfNonNegativeIntegers) {
  for (const char *shape : {"3", "[-1]", "[1.0]", "[\"1\"]", "[[1]]", "null", "[18446744073709551615]", "[1e3]"})
    expectError(fileBytes(header(R"({"dtype":"U8","shape":)" + std::string(shape) + R"(,"data_offsets":[0,1]})"), 1),
                {"tensor \"w\": shape: found ", "a list of integers from 0"});
}

TEST_F(ReadTest, SizeOverflows) {
  // The last two overflow only with the element size, and only before the dimension 0.
  for (const char *shape : {"[4611686018427387904,4]", "[4611686018427387904]", "[4611686018427387904,4,0]"})
    expectError(fileBytes(header(R"({"dtype":"F32","shape":)" + std::string(shape) + R"(,"data_offsets":[0,0]})"), 0),
                {"tensor \"w\": shape: found [4611686018427387904", "below 2^63"});
}

TEST_F(ReadTest, OffsetsAreNotBeginAndEnd) {
  for (const char *offsets :
       {"1", "[0]", "[0,1,1]", "[1,0]", "[-1,0]", "[0,1.0]", "[0,\"1\"]", "{}", "[0,18446744073709551616]"})
    expectError(fileBytes(header(R"({"dtype":"U8","shape":[1],"data_offsets":)" + std::string(offsets) + "}"), 1),
                {"tensor \"w\": data_offsets: found ", "[begin, end] with 0 <= begin <= end"});
}

TEST_F(ReadTest, OffsetsOutOfTheBuffer) {
  expectError(fileBytes(header(R"({"dtype":"U8","shape":[2],"data_offsets":[0,2]})"), 1),
              {"tensor \"w\": data_offsets: found [0,2]", "ends up to 1"});
  expectError(fileBytes(header(R"({"dtype":"U8","shape":[0],"data_offsets":[5,5]})"), 1),
              {"tensor \"w\": data_offsets: found [5,5]", "ends up to 1"});
}

TEST_F(ReadTest, BytesDoNotFitShapeAndDtype) {
  expectError(fileBytes(header(R"({"dtype":"F32","shape":[2],"data_offsets":[0,7]})"), 7),
              {"tensor \"w\": data_offsets: found 7 bytes", "the 8 bytes of [2] F32"});
}

TEST_F(ReadTest, OverlappingTensors) {
  expectError(fileBytes(R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},)"
                        R"("b":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}})",
                        3),
              {"tensor \"b\": data_offsets: found an overlap with tensor \"a\""});
  expectError(fileBytes(R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},)"
                        R"("b":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}})",
                        2),
              {"found an overlap with tensor \"a\""});
}

TEST_F(ReadTest, HolesBeforeBetweenAndAfterTensors) {
  expectError(fileBytes(header(R"({"dtype":"U8","shape":[1],"data_offsets":[1,2]})"), 2),
              {"data: found bytes 0 to 1 in no tensor", "without holes"});
  expectError(fileBytes(R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},)"
                        R"("b":{"dtype":"U8","shape":[1],"data_offsets":[3,4]}})",
                        4),
              {"data: found bytes 1 to 3 in no tensor"});
  expectError(fileBytes(header(R"({"dtype":"U8","shape":[1],"data_offsets":[0,1]})"), 3),
              {"data: found bytes 1 to 3 in no tensor"});
}

TEST_F(ReadTest, MetadataIsNotAnObjectOfStrings) {
  expectError(fileBytes(R"({"__metadata__":"x"})", 0), {"__metadata__: found \"x\"", "an object of strings"});
  expectError(fileBytes(R"({"__metadata__":{"n":1}})", 0), {"__metadata__: \"n\": found 1", "accepted is a string"});
}

TEST_F(ReadTest, LongFoundValuesAreCut) {
  writeBytes(path(), fileBytes(header("\"" + std::string(100'000, 'x') + "\""), 0));
  try {
    File::open(path());
    ADD_FAILURE() << "no error";
  } catch (const std::runtime_error &error) {
    EXPECT_LT(std::strlen(error.what()), path().string().size() + 300);
  }
}

TEST_F(ReadTest, UnknownTensorListsNearNames) {
  File file = open(fileBytes(R"({"layer0.q":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},)"
                             R"("layer0.k":{"dtype":"U8","shape":[1],"data_offsets":[1,2]},)"
                             R"("something.else":{"dtype":"U8","shape":[1],"data_offsets":[2,3]}})",
                             3));
  try {
    file.tensor("layer1.k");
    ADD_FAILURE() << "no error";
  } catch (const std::runtime_error &error) {
    EXPECT_EQ(error.what(), path().string() + ": tensor \"layer1.k\": found none; nearest of 3 names: \"layer0.k\", "
                                              "\"layer0.q\", \"something.else\"");
  }
}

TEST_F(ReadTest, UnknownTensorOfAFileWithoutTensors) {
  File file = open(fileBytes("{}", 0));
  EXPECT_THROW(file.tensor("w"), std::runtime_error);
}

} // namespace
} // namespace tpac::safetensors
