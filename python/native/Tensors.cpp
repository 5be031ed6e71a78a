// SPDX-License-Identifier: Apache-2.0

#include "Tensors.h"

#include "Errors.h"

#include <nanobind/stl/pair.h>

#include <algorithm>
#include <utility>

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

std::string textOf(int32_t deviceType, int32_t device) {
  if (deviceType == nb::device::cpu::value)
    return "the CPU";
  return (deviceType == nb::device::cuda::value ? "CUDA device "
                                                : "DLPack device type " + std::to_string(deviceType) + ", number ") +
         std::to_string(device);
}

/// The capsule of a tensor, on a GPU after its producer has made the stream wait for the tensor's contents.
nb::object capsuleOf(nb::handle object, const Place &place) {
  // DLPack's number of the default stream.
  constexpr uintptr_t defaultStream = 1;
  if (!place.exporter.is_none())
    return place.exporter(object);
  return object.attr("__dlpack__")(nb::arg("stream") = place.stream == 0 ? defaultStream : place.stream);
}

template <typename Array>
Array borrow(const std::string &phase, const std::string &name, nb::handle object, const Place &place,
             const char *expected) {
  auto refuseIt = [&](const std::string &cause) {
    refuse(phase + ": " + name + " is of " + typeNameOf(object) + " and cannot be taken: " + cause + "; expected " +
           expected);
  };
  auto checkDevice = [&](int32_t type, int32_t device) {
    // Frameworks number the one CPU as they like.
    if (type != place.deviceType || (type != TPAC_CPU && device != place.device))
      refuse(phase + ": " + name + " is on " + textOf(type, device) + "; expected a tensor on " +
             textOf(place.deviceType, place.device) + ", for which the kernels were loaded");
  };
  Array array;
  const bool hasExporter = !place.exporter.is_none();
  if (hasExporter || (place.deviceType == TPAC_CUDA && nb::hasattr(object, "__dlpack_device__"))) {
    if (!hasExporter) {
      const auto found = nb::cast<std::pair<int32_t, int32_t>>(object.attr("__dlpack_device__")());
      checkDevice(found.first, found.second);
    }
    nb::object capsule;
    try {
      capsule = capsuleOf(object, place);
    } catch (const nb::python_error &error) {
      refuseIt(nb::str(error.value()).c_str());
    }
    if (!nb::try_cast<Array>(capsule, array, /*convert=*/false))
      refuseIt("it is read-only");
  } else if (!nb::try_cast<Array>(object, array, /*convert=*/false)) {
    refuseIt(refusalOf(object));
  }
  checkDevice(array.device_type(), array.device_id());
  return array;
}

template <typename Array> bool isContiguous(const Array &array) {
  int64_t contiguous = 1;
  for (size_t axis = array.ndim(); axis-- > 0; contiguous *= static_cast<int64_t>(array.shape(axis)))
    if (array.shape(axis) > 1 && array.stride(axis) != contiguous)
      return false;
  return true;
}

} // namespace

BorrowedTensor::BorrowedTensor(const std::string &phase, const TensorDescription &described, nb::handle object,
                               const Place &place) {
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
    if (described.isPiece && !isContiguous(array))
      refuse(phase + ": " + described.name + " is not contiguous; expected one piece of memory");
    // Strides of dimensions with one element mean nothing, and frameworks put anything there.
    int64_t contiguous = 1;
    for (size_t axis = array.ndim(); axis-- > 0; contiguous *= std::max<int64_t>(extents[axis], 1))
      if (extents[axis] <= 1)
        steps[axis] = contiguous;
  };
  if (described.isWritten) {
    writer = borrow<nb::ndarray<>>(phase, described.name, object, place, "a writable tensor with DLPack");
    address = writer.data();
    describe(writer);
  } else {
    reader = borrow<nb::ndarray<nb::ro>>(phase, described.name, object, place, "a tensor with DLPack");
    // Packs only read it.
    address = const_cast<void *>(reader.data());
    describe(reader);
  }
}

WorkspaceTensor::WorkspaceTensor(const std::string &phase, nb::handle object, const Place &place)
    : tensor(borrow<nb::ndarray<>>(phase, "workspace", object, place, "a writable tensor with DLPack, or a bool")),
      data(tensor.data()), bytes(static_cast<int64_t>(tensor.nbytes())) {
  if (!isContiguous(tensor))
    refuse(phase + ": workspace is not contiguous; expected one piece of memory");
}

} // namespace tpac::python
