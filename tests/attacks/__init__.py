"""The attack suite: what somebody who only has published files and stated knowledge can find out about people."""
