// SPDX-License-Identifier: Apache-2.0
//
// Writes safetensors files. The result is accepted by File::open and aligned for direct use.

#ifndef TPAC_SAFETENSORS_WRITE_H
#define TPAC_SAFETENSORS_WRITE_H

#include "safetensors/Dtype.h"

#include <filesystem>
#include <map>
#include <string>

namespace tpac::safetensors {

/// Writes `tensors` to `path`. Data begin at a multiple of 8 bytes, larger element types first, so that every tensor
/// is aligned to its element. An existing file is replaced in one step: no reader sees a part of the new one, and it
/// stays as it was where writing fails. Throws std::invalid_argument for a tensor whose bytes do not fit its shape or
/// whose name the format forbids, std::runtime_error where the file cannot be written.
void write(const std::filesystem::path &path, const std::map<std::string, View> &tensors,
           const std::map<std::string, std::string> &metadata = {});

} // namespace tpac::safetensors

#endif // TPAC_SAFETENSORS_WRITE_H
