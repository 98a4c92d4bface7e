# evo_library(NAME SOURCES... [LINK targets...]): a static library of this house. The include root is the
# repository root; warnings are errors in our own code.
function(evo_target_options target)
  target_include_directories(${target} PUBLIC ${PROJECT_SOURCE_DIR})
  target_compile_options(${target} PRIVATE
    $<$<COMPILE_LANGUAGE:CXX>:-Wall -Wextra -Wno-unused-parameter -Wno-unused-but-set-parameter $<$<CXX_COMPILER_ID:GNU>:-Wno-restrict> $<$<CXX_COMPILER_ID:Clang>:-Wno-deprecated-declarations> -ffunction-sections -fdata-sections>)
  if(EVO_WARNINGS_AS_ERRORS)
    target_compile_options(${target} PRIVATE $<$<COMPILE_LANGUAGE:CXX>:-Werror>)
  endif()
endfunction()

function(evo_library name)
  cmake_parse_arguments(ARG "" "" "SOURCES;LINK" ${ARGN})
  add_library(${name} STATIC ${ARG_SOURCES})
  evo_target_options(${name})
  target_link_libraries(${name} PUBLIC ${ARG_LINK})
endfunction()

# A program of tools/: portable across distributions, without unused code.
function(evo_tool name)
  cmake_parse_arguments(ARG "" "" "SOURCES;LINK" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  evo_target_options(${name})
  target_link_libraries(${name} PRIVATE ${ARG_LINK})
  target_link_options(${name} PRIVATE -static-libstdc++ -static-libgcc -Wl,--gc-sections,--as-needed)
endfunction()
