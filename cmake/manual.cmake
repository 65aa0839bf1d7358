# The manual page and the completions, printed by the program itself, installed beside it.

include(GNUInstallDirs)
set(manual ${CMAKE_BINARY_DIR}/manual)
file(MAKE_DIRECTORY ${manual})
add_custom_command(
  OUTPUT ${manual}/bitblasc.1 ${manual}/bitblasc ${manual}/_bitblasc ${manual}/bitblasc.fish
  COMMAND bitblasc --help=man > ${manual}/bitblasc.1
  COMMAND bitblasc --completion=bash > ${manual}/bitblasc
  COMMAND bitblasc --completion=zsh > ${manual}/_bitblasc
  COMMAND bitblasc --completion=fish > ${manual}/bitblasc.fish
  DEPENDS bitblasc
  COMMENT "manual page and completions"
  VERBATIM)
add_custom_target(manual ALL DEPENDS ${manual}/bitblasc.1)
install(FILES ${manual}/bitblasc.1 DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
install(FILES ${manual}/bitblasc DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions)
install(FILES ${manual}/_bitblasc DESTINATION ${CMAKE_INSTALL_DATADIR}/zsh/site-functions)
install(FILES ${manual}/bitblasc.fish DESTINATION ${CMAKE_INSTALL_DATADIR}/fish/vendor_completions.d)
