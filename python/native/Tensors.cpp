// SPDX-License-Identifier: Apache-2.0

#include "Tensors.h"

#include "Errors.h"

#include <algorithm>

namespace tpac::python {

namespace nb = nanobind;

namespace {

using Code = nb::dlpack::dtype_code;

std::string typeText(nb::dlpack::dtype type) {
  const std::string bits = std::to_string(type.bits);
  switch (static_cast<Code>(type.code)) {
  case Code::Int:
    return "i" + bits;
  case Code::UInt:
    return "u" + bits;
  case Code::Float:
    return "f" + bits;
  case Code::Bfloat:
    return "bf" + bits;
  case Code::Bool:
    return "bool";
  case Code::Float8_E4M3FN:
    return "f8E4M3FN";
  default:
    return "DLPack type " + std::to_string(type.code) + " of " + bits + " bits";
  }
}

/// Types that not every framework has (NumPy lacks bf16 and fp8) may come as their bit patterns.
const char *patternOf(const std::string &type) {
  if (type == "bf16" || type == "f16")
    return "u16";
  return type == "f8E4M3FN" ? "u8" : nullptr;
}

std::string typeNameOf(nb::handle object) { return nb::str(object.type().attr("__name__")).c_str(); }

/// What the producer of `object` says against giving it away.
std::string refusalOf(nb::handle object) {
  if (!nb::hasattr(object, "__dlpack__"))
    return "it has no __dlpack__";
  try {
    (void)object.attr("__dlpack__")();
  } catch (const nb::python_error &error) {
    return nb::str(error.value()).c_str();
  }
  return "it is read-only";
}

template <typename Array>
Array borrow(const std::string &phase, const std::string &name, nb::handle object, const char *expected) {
  Array array;
  if (!nb::try_cast<Array>(object, array, /*convert=*/false))
    refuse(phase + ": " + name + " is of " + typeNameOf(object) + " and cannot be taken: " + refusalOf(object) +
           "; expected " + expected);
  if (array.device_type() != nb::device::cpu::value)
    refuse(phase + ": " + name + " is on " +
           (array.device_type() == nb::device::cuda::value
                ? "CUDA device "
                : "DLPack device type " + std::to_string(array.device_type()) + ", number ") +
           std::to_string(array.device_id()) + "; expected a tensor on the CPU, for which the kernels were loaded");
  return array;
}

} // namespace

BorrowedTensor::BorrowedTensor(const std::string &phase, const TensorDescription &described, nb::handle object) {
  auto describe = [&](const auto &array) {
    extents.resize(array.ndim());
    steps.resize(array.ndim());
    for (size_t axis = 0; axis < array.ndim(); ++axis) {
      extents[axis] = static_cast<int64_t>(array.shape(axis));
      steps[axis] = array.stride(axis);
    }
    const std::string found = typeText(array.dtype());
    const char *pattern = patternOf(described.type);
    if (array.dtype().lanes != 1 || (found != described.type && (pattern == nullptr || found != pattern)))
      refuse(phase + ": " + described.name + " is of " + found + "; expected " + described.type +
             (pattern ? std::string(", or its bits as ") + pattern : ""));
    // Strides of dimensions with one element mean nothing, and frameworks put anything there.
    int64_t contiguous = 1;
    for (size_t axis = array.ndim(); axis-- > 0; contiguous *= std::max<int64_t>(extents[axis], 1))
      if (extents[axis] <= 1)
        steps[axis] = contiguous;
  };
  if (described.isWritten) {
    writer = borrow<nb::ndarray<>>(phase, described.name, object, "a writable tensor with DLPack");
    address = writer.data();
    describe(writer);
  } else {
    reader = borrow<nb::ndarray<nb::ro>>(phase, described.name, object, "a tensor with DLPack");
    // Packs only read it.
    address = const_cast<void *>(reader.data());
    describe(reader);
  }
}

WorkspaceTensor::WorkspaceTensor(const std::string &phase, nb::handle object)
    : tensor(borrow<nb::ndarray<>>(phase, "workspace", object, "a writable tensor with DLPack, or a bool")),
      data(tensor.data()), bytes(static_cast<int64_t>(tensor.nbytes())) {
  int64_t contiguous = 1;
  for (size_t axis = tensor.ndim(); axis-- > 0; contiguous *= static_cast<int64_t>(tensor.shape(axis)))
    if (tensor.shape(axis) > 1 && tensor.stride(axis) != contiguous)
      refuse(phase + ": workspace is not contiguous; expected one piece of memory");
}

} // namespace tpac::python
