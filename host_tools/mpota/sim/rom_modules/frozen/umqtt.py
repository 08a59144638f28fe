"""The package of MQTT clients. Other than on the chip, an import of one imports both."""

import sys

import umqtt_robust
import umqtt_simple

simple = umqtt_simple
robust = umqtt_robust
sys.modules["umqtt.simple"] = simple
sys.modules["umqtt.robust"] = robust
simple.__init__()
robust.__init__()
