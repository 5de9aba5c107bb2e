# kernel_scenario(<name> <guest script> [DISKS size...] [MODULES module...] [HOST script] [LIMIT seconds])
#
# A test "kernel.<name>" (label "kernel"): the script runs inside a guest with a real kernel, lvm2 and device-mapper,
# on empty disks of the given sizes; its exit code is the test's. HOST is a bash script that then runs on the host, in
# the scenario's folder, with what the guest left there (see tests/harness/scenario).
#
# kernel_test(<name> <host script> [LIMIT seconds]): a bash script of the host that runs guests itself (guest SCRIPT).
set(HARNESS ${CMAKE_CURRENT_LIST_DIR})

function(kernel_scenario name script)
  cmake_parse_arguments(S "" "HOST;LIMIT" "DISKS;MODULES" ${ARGN})
  set(words)
  foreach(size IN LISTS S_DISKS)
    list(APPEND words --disk ${size})
  endforeach()
  foreach(module IN LISTS S_MODULES)
    list(APPEND words --module ${module})
  endforeach()
  if(S_HOST)
    list(APPEND words --host ${CMAKE_CURRENT_SOURCE_DIR}/${S_HOST})
  endif()
  harness_test(${name} "${S_LIMIT}" ${HARNESS}/scenario --guest ${CMAKE_CURRENT_SOURCE_DIR}/${script} ${words})
endfunction()

function(kernel_test name script)
  cmake_parse_arguments(S "" "LIMIT" "" ${ARGN})
  harness_test(${name} "${S_LIMIT}" ${HARNESS}/scenario --host ${CMAKE_CURRENT_SOURCE_DIR}/${script})
endfunction()

function(harness_test name limit)
  if(NOT limit)
    set(limit 1200)
  endif()
  math(EXPR guest_limit "${limit} - 20")
  add_test(NAME kernel.${name} COMMAND ${ARGN})
  set_tests_properties(kernel.${name} PROPERTIES LABELS kernel TIMEOUT ${limit} ENVIRONMENT
    "RESPALDO=$<TARGET_FILE:respaldo>;RESPALDO_XSTATE_SHIM=$<TARGET_FILE:xstate_shim>;QUICK_REPOSITORY=$<TARGET_FILE:quick_repository>;GUEST_LIMIT=${guest_limit}")
endfunction()
