# SPDX-License-Identifier: Apache-2.0
# Pages generated from .td files, for docs/generated/ (`./dev docs` copies them there):
#
#   tpac_add_tablegen_doc(NAME FILE.td GENERATOR-OPTION...)   writes docs/NAME.md of the build folder
#
# The target tpac-doc writes all pages.

add_custom_target(tpac-doc)

function(tpac_add_tablegen_doc name td_file)
  get_directory_property(folders INCLUDE_DIRECTORIES)
  list(PREPEND folders ${CMAKE_CURRENT_SOURCE_DIR})
  list(TRANSFORM folders PREPEND -I)
  # The pages of a .td file change with the files it includes, which stand beside it.
  file(GLOB td_files CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*.td)
  set(page ${CMAKE_BINARY_DIR}/docs/${name}.md)
  add_custom_command(
    OUTPUT ${page}
    COMMAND ${CMAKE_COMMAND} -E make_directory ${CMAKE_BINARY_DIR}/docs
    COMMAND $<TARGET_FILE:mlir-tblgen> ${ARGN} ${folders} ${CMAKE_CURRENT_SOURCE_DIR}/${td_file} -o ${page}
    DEPENDS ${td_files}
    COMMENT "docs/${name}.md"
    VERBATIM)
  add_custom_target(tpac-doc-${name} DEPENDS ${page})
  add_dependencies(tpac-doc tpac-doc-${name})
endfunction()
