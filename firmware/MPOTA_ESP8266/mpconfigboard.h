// The board is ESP8266_GENERIC under a name of its own, so that a prompt tells which build runs.
#include "boards/ESP8266_GENERIC/mpconfigboard.h"

#undef MICROPY_HW_BOARD_NAME
#define MICROPY_HW_BOARD_NAME "ESP module with mpota"
