// SPDX-License-Identifier: Apache-2.0

#include "tools/tpac/VariantFile.h"

#include "dialect/json/VariantJson.h"
#include "lowering/Compiler.h"

#include "mlir/IR/Builders.h"

#include <cerrno>
#include <cstring>
#include <fstream>
#include <sstream>
#include <stdexcept>

using namespace mlir;

namespace {

MLIRContext::Threading noThreads = MLIRContext::Threading::DISABLED;

DialectRegistry compilerRegistry() {
  DialectRegistry registry;
  tpac::registerCompilerDialects(registry);
  return registry;
}

std::string readFile(const std::string &path) {
  std::ifstream stream(path, std::ios::binary);
  std::ostringstream text;
  if (!stream || !(text << stream.rdbuf()))
    throw std::runtime_error(path + ": cannot be read: " + std::strerror(errno));
  return text.str();
}

} // namespace

tpac::VariantFile::VariantFile(const std::string &path) : VariantFile(readFile(path), path) {}

tpac::VariantFile::VariantFile(const std::string &text, const std::string &name)
    : context(compilerRegistry(), noThreads) {
  llvm::Expected<tpa::VariantAttr> read = tpa::readVariant(text, name, context);
  if (!read)
    throw std::runtime_error(llvm::toString(read.takeError()));
  attribute = *read;
}

std::string tpac::VariantFile::json() const { return tpa::writeVariant(attribute); }

std::string tpac::VariantFile::jsonWithStorage(const std::string &type) {
  Builder builder(&context);
  Type element = type == "f64"    ? Type(builder.getF64Type())
                 : type == "f32"  ? Type(builder.getF32Type())
                 : type == "bf16" ? Type(builder.getBF16Type())
                                  : Type(builder.getF16Type());
  return tpa::writeVariant(tpa::withStorage(attribute, element));
}
