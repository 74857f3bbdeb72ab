# Man pages, made by help2man from each program's --help: target "man", into the build tree.
find_program(HELP2MAN help2man)
if(NOT HELP2MAN)
    return()
endif()
set(TG_MAN_DIR ${PROJECT_BINARY_DIR}/man)
file(MAKE_DIRECTORY ${TG_MAN_DIR})
foreach(page ticketgate:1 tg-charger:1 tgctl:1 tg-gateway:8 tg-ticket-resolver:8 tg-key-store:8 tg-radius-bridge:8
        tg-audit:8 tg-audit-verify:1)
    string(REPLACE ":" ";" pair ${page})
    list(GET pair 0 program)
    list(GET pair 1 section)
    if(TARGET ${program})
        set(output ${TG_MAN_DIR}/${program}.${section})
        add_custom_command(
            OUTPUT ${output}
            COMMAND ${HELP2MAN} --no-info --section=${section} --output=${output} $<TARGET_FILE:${program}>
            DEPENDS ${program} VERBATIM)
        list(APPEND TG_MAN_PAGES ${output})
    endif()
endforeach()
add_custom_target(man DEPENDS ${TG_MAN_PAGES})
