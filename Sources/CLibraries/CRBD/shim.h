#pragma once
#include <rados/librados.h>
#include <rbd/librbd.h>
#include <stdio.h>

/// What stdout still holds. (Swift takes the variable for one that anybody may change.)
static inline void flushStandardOutput(void) { fflush(stdout); }
