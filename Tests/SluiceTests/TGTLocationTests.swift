import BlockStorage
import Testing

@testable import Sluice

@Suite struct TGTLocationTests {
    private func location(_ text: String) throws -> TGTLocation {
        let (url, secret) = try PoolURL.parse(text)
        #expect(secret == nil)
        try url.checkParameters(known: TGTLocation.parameters)
        #expect(try PoolURL.parse(url.description).url == url)
        return try TGTLocation(url)
    }

    @Test("A URL names the portal, the daemon, the directory and the initiator")
    func forms() throws {
        let plain = try location("tgt://10.0.0.1:3261?directory=/srv/units")
        #expect(("\(plain.portal)", plain.control, plain.directory) == ("10.0.0.1:3261", 0, "/srv/units"))
        #expect((plain.units.initiator, plain.units.boundAddress, plain.units.hasHeaderDigest) == (nil, nil, false))
        #expect(!plain.units.isMutual)
        let full = try location(
            "tgt://[2001:db8::1]?control=7&directory=/srv/units&initiator=iqn.1993-08.org.debian:01:host"
                + "&bind=10.0.1.5&chap=mutual&header-digest=crc32c&snapshot-reserve=30")
        #expect(("\(full.portal)", full.control) == ("[2001:db8::1]:3260", 7))
        #expect((full.units.initiator, full.units.boundAddress) == ("iqn.1993-08.org.debian:01:host", "10.0.1.5"))
        #expect(full.units.isMutual && full.units.hasHeaderDigest && full.units.snapshotReserve == 30)
    }

    @Test("An initiator's name is the same in capitals")
    func capitals() throws {
        let location = try location("tgt://host?directory=/srv&initiator=IQN.1993-08.org.Debian:01:Host-A")
        #expect(location.units.initiator == "iqn.1993-08.org.debian:01:host-a")
    }

    @Test(
        "Connections are bound to an address in numbers",
        arguments: [
            "127.0.0.1", "255.255.255.255", "::1", "2001:db8::5", "2001:DB8:0:0:1:2:3:4", "::ffff:10.0.0.5", "fd00::",
            "1:2:3:4:5:6:10.0.0.5", "fe80::1%25eth0",
        ])
    func addresses(text: String) throws {
        let units = try location("tgt://host?directory=/srv&bind=\(text)").units
        #expect(units.boundAddress == text.split(separator: "%25").joined(separator: "%"))
    }

    @Test(
        "What is no address, or one that not everybody reads the same, is refused as one to bind to",
        arguments: [
            "", "host", "storage0", "1", "10.0.1", "10.0.0.256", "10.0.0.5.6", "010.0.0.5", "+1.0.0.5", "10.0.0.5:3260",
            "10.0.0.0/24", "[::1]", "10.0.0.5%25eth0", ":", ":::", "1::2::3", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9",
            "1:2:3:4:5:6:7::8", "12345::", "+1::", "g::1", ":1:2:3:4:5:6:7", "10.0.0.5::", "::10.0.0.5:1",
        ])
    func noAddresses(text: String) {
        let error = #expect(throws: StorageError.self) { _ = try location("tgt://host?directory=/srv&bind=\(text)") }
        #expect(error?.code == .invalidArgument && error?.why.contains("'bind' is an address") == true)
    }

    @Test(
        "What cannot be meant is refused",
        arguments: [
            "tgt://host", "tgt://host?directory=units", "tgt:///path?directory=/srv", "tgt://user@host?directory=/srv",
            "tgt://host/path?directory=/srv", "tgt://host:0?directory=/srv", "tgt://a b?directory=/srv",
            "tgt://host?directory=/srv&control=-1", "tgt://host?directory=/srv&control=65536",
            "tgt://host?directory=/srv&initiator=host", "tgt://host?directory=/srv&initiator=iqn.a/b",
            "tgt://host?directory=/srv&chap=both",
            "tgt://host?directory=/srv&header-digest=md5",
            "tgt://host?directory=/srv&snapshot-reserve=256", "tgt://host?directory=/srv&unknown=1",
        ])
    func refusals(text: String) {
        let error = #expect(throws: StorageError.self) { _ = try location(text) }
        #expect(error?.code == .invalidArgument)
    }
}
