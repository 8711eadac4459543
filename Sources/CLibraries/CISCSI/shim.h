#pragma once
#include <iscsi/iscsi.h>
#include <iscsi/scsi-lowlevel.h>

// The C library shows it to GNU programs only.
int dup3(int descriptor, int number, int flags);
