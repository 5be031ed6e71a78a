// SPDX-License-Identifier: Apache-2.0
//
// Every file of configs/ is a variant, is written back without loss, and takes the cache that the table says.

#include "TestVariants.h"

#include "dialect/PhaseOperands.h"

#include <map>

using namespace mlir;
using namespace mlir::tpa;

namespace {

std::vector<std::filesystem::path> configFiles() {
  std::vector<std::filesystem::path> files;
  for (const auto &entry : std::filesystem::directory_iterator(tests::configs()))
    if (entry.path().extension() == ".json")
      files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  return files;
}

class Configs : public testing::TestWithParam<std::filesystem::path> {
protected:
  MLIRContext context;
};

/// Bytes that a token takes in the cache, from the tensors of the append phase.
int64_t cacheBytes(VariantAttr variant) {
  int64_t bits = 0;
  auto add = [&](const PhaseOperand &operand) {
    int64_t elements = 1;
    for (int64_t size : operand.trailing)
      elements *= size;
    bits += elements * operand.elementType.getIntOrFloatBitWidth();
  };
  for (Side side : {Side::k, Side::v})
    llvm::for_each(getCacheOperands(variant, side), add);
  if (variant.rotatesKeysOnRead())
    add(getKeyPositionsOperand(variant));
  return bits / 8;
}

/// The column "cache bytes per token" of configs/README.md.
std::map<std::string, int64_t> tableBytes() {
  std::map<std::string, int64_t> bytes;
  std::istringstream table(tests::readText(tests::configs() / "README.md"));
  for (std::string line; std::getline(table, line);) {
    SmallVector<StringRef> cells;
    StringRef(line).split(cells, '|');
    int64_t value = 0;
    if (cells.size() == 8 && !cells[5].trim().getAsInteger(10, value))
      bytes[cells[1].trim(" `").str()] = value;
  }
  return bytes;
}

} // namespace

TEST_P(Configs, ReadsAndIsNamedAsItsFile) {
  VariantAttr variant = tests::read(tests::readText(GetParam()), context);
  ASSERT_TRUE(variant);
  EXPECT_EQ(variant.getName().getValue(), GetParam().stem().string());
}

TEST_P(Configs, IsWrittenWithoutLoss) {
  VariantAttr variant = tests::read(tests::readText(GetParam()), context);
  ASSERT_TRUE(variant);
  std::string text = writeVariant(variant);
  VariantAttr again = tests::read(text, context);
  EXPECT_EQ(again, variant);
  EXPECT_EQ(writeVariant(again), text);
}

TEST_P(Configs, TakesTheCacheOfTheTable) {
  static const std::map<std::string, int64_t> table = tableBytes();
  VariantAttr variant = tests::read(tests::readText(GetParam()), context);
  ASSERT_TRUE(variant);
  auto row = table.find(GetParam().stem());
  ASSERT_NE(row, table.end());
  EXPECT_EQ(cacheBytes(variant), row->second);
}

TEST_P(Configs, TakesEveryStorageType) {
  VariantAttr variant = tests::read(tests::readText(GetParam()), context);
  ASSERT_TRUE(variant);
  Type f64 = Float64Type::get(&context), f32 = Float32Type::get(&context);
  for (Type type : {f64, f32, Type(BFloat16Type::get(&context)), Type(Float16Type::get(&context))}) {
    VariantAttr stored = withStorage(variant, type);
    TypesAttr types = stored.getTypes();
    for (Type field : {types.getActivation(), types.getHead(), types.getToken(), types.getOutput()})
      EXPECT_EQ(field, type);
    EXPECT_EQ(types.getCompute(), type == f64 ? f64 : f32);
    // Nothing but the types has changed.
    EXPECT_EQ(withStorage(stored, f32), withStorage(variant, f32));
    EXPECT_EQ(tests::read(writeVariant(stored), context), stored);
  }
}

INSTANTIATE_TEST_SUITE_P(All, Configs, testing::ValuesIn(configFiles()), [](const auto &info) {
  std::string name = info.param.stem();
  std::replace_if(name.begin(), name.end(), [](char c) { return !std::isalnum(static_cast<unsigned char>(c)); }, '_');
  return name;
});

TEST(Docs, ExampleIsTheConfiguration) {
  MLIRContext context;
  std::string page = tests::readText(tests::configs().parent_path() / "docs/variant.md");
  StringRef example = StringRef(page).split("```json\n").second.split("```").first;
  EXPECT_EQ(tests::read(example, context), tests::read(tests::readText(tests::configs() / "t6-medium.json"), context));
}

TEST(ConfigsFacts, ModelsAreWhatTheirNamesSay) {
  MLIRContext context;
  auto config = [&](StringRef name) {
    return tests::read(tests::readText(tests::configs() / (name + ".json").str()), context);
  };
  VariantAttr mini = config("llama-mini-gqa");
  ASSERT_TRUE(mini);
  EXPECT_TRUE(mini.getQ().isDense());
  EXPECT_EQ(mini.getK().getRankOfHead(mini.getHeads(), 3), 0);
  EXPECT_EQ(mini.getK().getRankOfHead(mini.getHeads(), 4), 1);
  EXPECT_DOUBLE_EQ(mini.getScaleValue(), 1.0 / 8.0);

  VariantAttr mla = config("mla-128");
  ASSERT_TRUE(mla);
  EXPECT_EQ(mla.getKeyFeatures(), 576);
  EXPECT_EQ(mla.getValueFeatures(), 512);
  EXPECT_DOUBLE_EQ(mla.getScaleValue() * mla.getScaleValue(), 1.0 / 192.0);
  EXPECT_FALSE(mla.rotatesKeysOnRead());

  VariantAttr medium = config("t6-medium");
  ASSERT_TRUE(medium);
  EXPECT_DOUBLE_EQ(medium.getScaleValue(), 1.0 / (6 * 2 * 8));
  EXPECT_EQ(medium.getRope().getBase().getValueAsDouble(), 10000.0);
}
