// SPDX-License-Identifier: Apache-2.0
//
// The members of the family that GPU tests compile: the configurations, and others that none of them is.

#ifndef TPAC_TESTS_GPU_MEMBERS_H
#define TPAC_TESTS_GPU_MEMBERS_H

#include "dialect/TPADialect.h"

#include "llvm/Support/Error.h"

#include <nlohmann/json.hpp>

#include <filesystem>
#include <stdexcept>
#include <string>
#include <vector>

namespace tpac::gputest {

/// The value, or a std::runtime_error.
template <typename T> T take(llvm::Expected<T> expected) {
  if (!expected)
    throw std::runtime_error(llvm::toString(expected.takeError()));
  return std::move(*expected);
}

std::string readText(const std::filesystem::path &path);

/// configs/CONFIG.json; with a `patch`, changed by it and under the name `name`.
mlir::tpa::VariantAttr readConfig(mlir::MLIRContext &context, const std::string &config,
                                  const nlohmann::json &patch = {}, const std::string &name = "");

/// All, or those in `names`, by their names in alphabetic order.
std::vector<std::pair<std::string, mlir::tpa::VariantAttr>> readMembers(mlir::MLIRContext &context,
                                                                        std::vector<std::string> names = {});

} // namespace tpac::gputest

#endif // TPAC_TESTS_GPU_MEMBERS_H
