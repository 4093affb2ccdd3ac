"""Addresses that must never be dialled. `{p}` is the canary's port."""

from typing import Final

LOOPBACK: Final = """
http://127.0.0.1:{p}/ http://127.0.0.1.:{p}/ http://127.1:{p}/ http://127.0.1:{p}/ http://127.255.255.254:{p}/
http://2130706433:{p}/ http://0x7f000001:{p}/ http://0x7f.0.0.1:{p}/ http://0x7f.1:{p}/ http://017700000001:{p}/
http://0177.0.0.1:{p}/ http://0177.1:{p}/ http://00000127.0.0.1:{p}/ http://4294967297:{p}/ http://0x100000000:{p}/
http://localhost:{p}/ http://LOCALHOST:{p}/ http://localhost.:{p}/ http://sub.localhost:{p}/ http://ip6-localhost:{p}/
http://localhost.localdomain:{p}/ http://intranet:{p}/ http://db.internal:{p}/ http://printer.local:{p}/
http://0.0.0.0:{p}/ http://0:{p}/ http://0.0:{p}/ http://[::]:{p}/ http://[::1]:{p}/ http://[0:0:0:0:0:0:0:1]:{p}/
http://[::ffff:127.0.0.1]:{p}/ http://[::ffff:7f00:1]:{p}/ http://[::ffff:0:127.0.0.1]:{p}/ http://[::127.0.0.1]:{p}/
http://[64:ff9b::7f00:1]:{p}/ http://[64:ff9b:1::7f00:1]:{p}/ http://[2002:7f00:1::]:{p}/ http://[2002:a9fe:a9fe::]:{p}/
http://[2001:0:7f00:1::80ff:fffe]:{p}/ http://[::1%25lo]:{p}/ http://[fe80::1%25eth0]:{p}/ http://[::1%lo]:{p}/
""".split()

PRIVATE: Final = """
http://10.0.0.1/ http://10.255.255.255/ http://172.16.0.1/ http://172.31.255.255/ http://192.168.0.1/ http://192.168.1.1/
http://100.64.0.1/ http://100.127.255.254/ http://169.254.169.254/latest/meta-data/ http://169.254.170.2/v2/credentials
http://2852039166/ http://0xa9fea9fe/ http://0251.0376.0251.0376/ http://100.100.100.200/ http://192.0.0.192/
http://168.63.129.16/ http://metadata.google.internal/ http://[fd00:ec2::254]/ http://[fd20:ce::254]/ http://[fe80::1]/
http://[fec0::1]/ http://[fc00::1]/ http://[ff02::1]/ http://224.0.0.1/ http://239.255.255.250/ http://255.255.255.255/
http://240.0.0.1/ http://192.0.2.1/ http://198.51.100.1/ http://203.0.113.1/ http://198.18.0.1/ http://192.88.99.1/
http://[100::1]/ http://[2001:db8::1]/ http://[3fff::1]/ http://[5f00::1]/ http://[2001:10::1]/ http://[::10.0.0.1]/
""".split()

DISGUISED: Final = [
    "http://127。0。0。1:{p}/",
    "http://127．0．0．1:{p}/",
    "http://127｡0｡0｡1:{p}/",
    "http://１２７.0.0.1:{p}/",
    "http://①②⑦.⓪.⓪.①:{p}/",
    "http://ⓛⓞⓒⓐⓛⓗⓞⓢⓣ:{p}/",
    "http://user@127.0.0.1:{p}/",
    "http://public.example@127.0.0.1:{p}/",
    "http://public.example:80@127.0.0.1:{p}/",
    "http://public.example#@127.0.0.1:{p}/",
    "http://public.example\\@127.0.0.1:{p}/",
    "http://127.0.0.1:{p}\\@public.example/",
    "http://public.example%40127.0.0.1:{p}/",
    "http://%31%32%37.0.0.1:{p}/",
    "http://127.0.0.1%00.public.example:{p}/",
    "http:127.0.0.1:{p}/",
    "http:/127.0.0.1:{p}/",
    "http:///127.0.0.1:{p}/",
    "//127.0.0.1:{p}/",
    "\thttp://127.0.0.1:{p}/",
    "http://127.0.0.1\n:{p}/",
    "http://127.0.0.1 :{p}/",
    "HTTP://127.0.0.1:{p}/",
    "http://[::ffff:127.0.0.1]@public.example:{p}/",
    "http://-.127.0.0.1:{p}/",
    "http://a..b:{p}/",
]

OTHER_PORTS: Final = [f"http://public.example:{port}/" for port in (0, 22, 25, 6379, 5432, 8000, 8080, 65535)]
OTHER_SCHEMES: Final = """
file:///etc/passwd file://127.0.0.1:{p}/ gopher://127.0.0.1:{p}/_GET ftp://127.0.0.1:{p}/ dict://127.0.0.1:{p}/
ldap://127.0.0.1:{p}/ ws://127.0.0.1:{p}/ unix:///var/run/docker.sock data:text/plain,hello javascript:alert(1)
mailto:a@b.example jar:http://127.0.0.1:{p}!/ blob:http://127.0.0.1:{p}/ http+unix://%2Fvar%2Frun%2Fdocker.sock/
""".split()

CORPUS: Final = [*LOOPBACK, *PRIVATE, *DISGUISED, *OTHER_PORTS, *OTHER_SCHEMES]
