// SPDX-License-Identifier: Apache-2.0
//
// tpac/page_pool.h for Python.

#ifndef TPAC_PYTHON_PAGEPOOL_H
#define TPAC_PYTHON_PAGEPOOL_H

#include <nanobind/nanobind.h>

namespace tpac::python {

void bindPagePool(nanobind::module_ &module);

} // namespace tpac::python

#endif // TPAC_PYTHON_PAGEPOOL_H
