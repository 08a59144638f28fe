# MicroPython with 2 MiB of flash or more, a ROMFS partition, and the package `ota` frozen in.
# As the variant FLASH_2M_ROMFS of ESP8266_GENERIC, but for the manifest.
LD_FILES = boards/esp8266_2MiB_ROMFS.ld

MICROPY_PY_ESPNOW ?= 1
MICROPY_PY_BTREE ?= 1
MICROPY_VFS_FAT ?= 1
MICROPY_VFS_LFS2 ?= 1

FROZEN_MANIFEST ?= $(BOARD_DIR)/manifest.py

CFLAGS += -DMICROPY_ESP8266_2M -DMICROPY_VFS_ROM=1
