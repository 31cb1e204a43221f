dnl TIDEMARK_FLAGS_COMPILE(VARIABLE, FLAGS): append each flag that the compiler takes.
AC_DEFUN([TIDEMARK_FLAGS_COMPILE], [
  for tidemark_flag in m4_normalize([$2]); do
    AC_MSG_CHECKING([whether $CC takes $tidemark_flag])
    tidemark_saved="$CFLAGS"
    CFLAGS="$CFLAGS -Werror $tidemark_flag"
    AC_COMPILE_IFELSE([AC_LANG_PROGRAM([], [])],
      [AC_MSG_RESULT([yes]); $1="$$1 $tidemark_flag"], [AC_MSG_RESULT([no])])
    CFLAGS="$tidemark_saved"
  done])
dnl TIDEMARK_FLAGS_LINK(VARIABLE, FLAGS): append each flag that the linker takes.
AC_DEFUN([TIDEMARK_FLAGS_LINK], [
  for tidemark_flag in m4_normalize([$2]); do
    AC_MSG_CHECKING([whether the linker takes $tidemark_flag])
    tidemark_saved="$LDFLAGS"
    LDFLAGS="$LDFLAGS -Werror $tidemark_flag"
    AC_LINK_IFELSE([AC_LANG_PROGRAM([], [])],
      [AC_MSG_RESULT([yes]); $1="$$1 $tidemark_flag"], [AC_MSG_RESULT([no])])
    LDFLAGS="$tidemark_saved"
  done])
