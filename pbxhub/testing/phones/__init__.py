"""Real SIP phones, and the audio they receive."""
