# What is installed, and the Debian package: cpack --config build/release/CPackConfig.cmake
include(GNUInstallDirs)
install(TARGETS respaldo RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(DIRECTORY ${CMAKE_BINARY_DIR}/man/ DESTINATION ${CMAKE_INSTALL_MANDIR}/man8 FILES_MATCHING PATTERN "*.8.gz")
install(DIRECTORY ${CMAKE_BINARY_DIR}/man/ DESTINATION ${CMAKE_INSTALL_MANDIR}/man5 FILES_MATCHING PATTERN "*.5.gz")
install(FILES ${CMAKE_BINARY_DIR}/completion/respaldo DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions)
install(FILES packaging/systemd/respaldo@.service packaging/systemd/respaldo@.timer DESTINATION lib/systemd/system)
install(FILES README.md docs/configuration.md docs/exit-codes.md docs/json.md packaging/debian/copyright
        DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(DIRECTORY docs/formats DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(FILES packaging/respaldo.toml DESTINATION /etc/respaldo)

set(CPACK_GENERATOR DEB)
set(CPACK_SET_DESTDIR ON)
set(CPACK_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_PACKAGE_NAME respaldo)
set(CPACK_PACKAGE_CONTACT "respaldo maintainers <root@localhost>")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "back up LVM volumes and bring them back")
set(CPACK_PACKAGE_DESCRIPTION "respaldo takes a snapshot of LVM volumes, reads it once, and leaves a backup in a
repository in restic's format: the image of each volume and its files, stored once.")
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION admin)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
# libcurl and libarchive are loaded when they are needed: nothing else finds them.
set(CPACK_DEBIAN_PACKAGE_DEPENDS
    "lvm2, dmsetup, e2fsprogs, util-linux, libcurl4t64 (>= 7.85) | libcurl4 (>= 7.85), libarchive13t64 | libarchive13")
set(CPACK_DEBIAN_PACKAGE_RECOMMENDS "ca-certificates, fuse3, fdisk")
set(CPACK_DEBIAN_PACKAGE_SUGGESTS "restic, xfsprogs, default-mta | mail-transport-agent, prometheus-node-exporter")
set(CPACK_DEBIAN_PACKAGE_CONTROL_EXTRA "${CMAKE_SOURCE_DIR}/packaging/debian/conffiles"
    "${CMAKE_SOURCE_DIR}/packaging/debian/postinst" "${CMAKE_SOURCE_DIR}/packaging/debian/postrm")
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
include(CPack)
