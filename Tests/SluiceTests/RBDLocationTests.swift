import BlockStorage
import Foundation
import Testing

@testable import Sluice

@Suite struct RBDLocationTests {
    private func location(_ text: String) throws -> RBDLocation {
        let url = try PoolURL.parse(text).url
        try url.checkParameters(known: RBDLocation.parameters)
        return try RBDLocation(url)
    }

    @Test("A URL names monitors, with names, addresses and ports, the user and the pool")
    func forms() throws {
        let plain = try location("rbd://cloud@mon1/cloudstack")
        #expect(plain.monitors == [.init(host: "mon1")])
        #expect((plain.user, plain.pool) == ("cloud", "cloudstack"))
        #expect(plain.isLimitedByLibrbd)
        #expect(plain.cacheBytes == 32 << 20)
        let many = try location("rbd://cloud:c2VjcmV0@mon1:6789,10.0.0.2:3300,[2001:db8::1],[::1]:13300/cloudstack")
        #expect(
            many.monitors == [
                .init(host: "mon1", port: 6789), .init(host: "10.0.0.2", port: 3300), .init(host: "2001:db8::1"),
                .init(host: "::1", port: 13300),
            ])
        #expect(many.usage == "cloud@mon1:6789,10.0.0.2:3300,[2001:db8::1],[::1]:13300/cloudstack")
        #expect(try location("rbd://mon1/cloudstack").user == "admin")
    }

    @Test("Parameters choose a configuration, a keyring, a data pool, sizes and who limits")
    func parameters() throws {
        let all = try location(
            "rbd://cloud@/cloudstack?conf=/etc/ceph/a.conf&keyring=/etc/ceph/k&data-pool=ec&object-size=8M&cache=0"
                + "&qos=none")
        #expect(all.monitors.isEmpty)
        #expect((all.configurationFile, all.keyring, all.dataPool) == ("/etc/ceph/a.conf", "/etc/ceph/k", "ec"))
        #expect(all.objectSize == 8 << 20)
        #expect(all.cacheBytes == 0)
        #expect(!all.isLimitedByLibrbd)
        #expect(try location("rbd://cloud@mon1/cloudstack?cache=64M").cacheBytes == 64 << 20)
        #expect(try !location("rbd://cloud@mon1/cloudstack?cache-mode=writethrough").isWriteback)
        #expect(try location("rbd://cloud@mon1/cloudstack?cache-mode=writeback").isWriteback)
    }

    @Test(
        "What cannot be meant is refused",
        arguments: [
            "rbd://cloud@mon1", "rbd://cloud@mon1/", "rbd://cloud@mon1/a/b", "rbd://cloud@/pool", "rbd:///pool",
            "rbd://cloud@mon1:0/pool", "rbd://cloud@mon1:65536/pool", "rbd://cloud@mon1:/pool",
            "rbd://cloud@mon1:x/pool",
            "rbd://cloud@mon1:+1/pool", "rbd://cloud@2001:db8::1/pool", "rbd://cloud@[mon1]/pool",
            "rbd://cloud@[::1/pool",
            "rbd://cloud@[::1]x/pool", "rbd://cloud@mon1,,mon2/pool", "rbd://cloud@mon1,/pool",
            "rbd://cloud@mon 1/pool",
            "rbd://cloud@v2:1.2.3.4:3300/pool", "rbd://client.cloud@mon1/pool", "rbd://a%20b@mon1/pool",
            "rbd://cloud@mon1/po%20ol", "rbd://cloud@mon1/po%40ol", "rbd://cloud@mon1/pool?conf=ceph.conf",
            "rbd://cloud@mon1/pool?keyring=k", "rbd://cloud@mon1/pool?conf=/etc/", "rbd://cloud@mon1/pool?data-pool=",
            "rbd://cloud@mon1/pool?object-size=3M", "rbd://cloud@mon1/pool?object-size=64M",
            "rbd://cloud@mon1/pool?object-size=x", "rbd://cloud@mon1/pool?cache=1k", "rbd://cloud@mon1/pool?cache=-1",
            "rbd://cloud@mon1/pool?cache=99999999999999999999", "rbd://cloud@mon1/pool?qos=array",
            "rbd://cloud@mon1/pool?cache-mode=none",
            "rbd://cloud@mon1/pool?colour=red",
        ])
    func refusals(text: String) async {
        await expect(.invalidArgument) { try location(text) }
    }

    @Test("Any text after the scheme is a location or is refused")
    func property() {
        var generator = SeededGenerator(seed: 11)
        let alphabet = Array("rb:/@?&=%.,[]~09az ä\u{0}+;cokl")
        for _ in 0..<20_000 {
            let length = Int.random(in: 0..<40, using: &generator)
            let tail = String((0..<length).compactMap { _ in alphabet.randomElement(using: &generator) })
            guard let location = try? location("rbd://" + tail) else { continue }
            #expect(!location.pool.isEmpty && !location.user.isEmpty, "\(tail)")
            #expect(location.monitors.allSatisfy { !$0.host.isEmpty && $0.port != 0 }, "\(tail)")
        }
    }

    @Test("A key has one form, whether CloudStack wrote it or Ceph")
    func keys() async throws {
        let head: [UInt8] = [1, 0, 0x64, 0x90, 0x57, 0x67, 0, 0, 0, 0, 16, 0]
        let standard = Data(head + [UInt8](repeating: 0xfb, count: 15) + [0xff]).base64EncodedString()
        #expect(standard.contains("+") && standard.contains("/") && standard.hasSuffix("=="))
        let cloudStack = standard.replacing("+", with: "-").replacing("/", with: "_")
        for text in [standard, cloudStack, cloudStack.replacing("=", with: "")] {
            #expect(try RBDLocation.canonicalKey(Secret(text)) == Secret(standard))
        }
        // What librados cannot take for a key it prints.
        for text in [
            "", "==", "no key", "AQD+/w==", "hunter2:!", String(standard.dropFirst(4)), standard + "AAAA",
            String(standard.dropLast(3).reversed()) + "w==",
            Data([2] + head.dropFirst() + [UInt8](repeating: 1, count: 16))
                .base64EncodedString(), "[client.cloud]\n key = \(standard)", standard.replacing("+", with: " "),
        ] {
            let error = await expect(.invalidArgument) { try RBDLocation.canonicalKey(Secret(text)) }
            #expect(error.map { !"\($0)".contains("hunter2") } ?? false)
        }
    }
}
