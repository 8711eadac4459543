#pragma once
#include <libxml/xmlversion.h>
// Its headers would bring in the system's ICU, which is not the one that Foundation brings. Nothing here needs either.
#undef LIBXML_ICU_ENABLED
#include <libxml/xmlreader.h>
