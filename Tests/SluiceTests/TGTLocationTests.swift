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

    @Test(
        "What cannot be meant is refused",
        arguments: [
            "tgt://host", "tgt://host?directory=units", "tgt:///path?directory=/srv", "tgt://user@host?directory=/srv",
            "tgt://host/path?directory=/srv", "tgt://host:0?directory=/srv", "tgt://a b?directory=/srv",
            "tgt://host?directory=/srv&control=-1", "tgt://host?directory=/srv&control=65536",
            "tgt://host?directory=/srv&initiator=host", "tgt://host?directory=/srv&initiator=iqn.a/b",
            "tgt://host?directory=/srv&bind=", "tgt://host?directory=/srv&chap=both",
            "tgt://host?directory=/srv&header-digest=md5",
            "tgt://host?directory=/srv&snapshot-reserve=256", "tgt://host?directory=/srv&unknown=1",
        ])
    func refusals(text: String) {
        let error = #expect(throws: StorageError.self) { _ = try location(text) }
        #expect(error?.code == .invalidArgument)
    }
}
