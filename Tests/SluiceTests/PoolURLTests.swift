import BlockStorage
import Testing

@testable import Sluice

@Suite struct PoolURLTests {
    @Test(
        "URLs that mean the same have one form",
        arguments: [
            ("dir:///srv/fast", "dir:///srv/fast"),
            ("DIR:////srv//./fast/", "dir:///srv/fast"),
            ("dir:///srv/with%20space", "dir:///srv/with%20space"),
            ("dir:///srv/with space", "dir:///srv/with%20space"),
            ("dir:///a?overprovisioning=2&deadline=5", "dir:///a?deadline=5&overprovisioning=2"),
            ("rbd://admin:c2VjcmV0@mon1,mon2/pool", "rbd://admin@mon1,mon2/pool"),
            ("rbd://:c2VjcmV0@mon/pool", "rbd://mon/pool"),
            ("element://1.2.3.4:443?user=admin&password=hunter2", "element://1.2.3.4:443?user=admin"),
            ("nfs://host/export/ä", "nfs://host/export/%C3%A4"),
            ("nfs://[::1]:2049/a?user=me@home", "nfs://[::1]:2049/a?user=me%40home"),
            ("dir:///srv/a@b", "dir:///srv/a%40b"),
        ])
    func canonicalForm(text: String, form: String) throws {
        let url = try PoolURL.parse(text).url
        #expect(url.description == form)
        let again = try PoolURL.parse(form)
        #expect(again.url == url)
        #expect(again.secret == nil)
    }

    @Test("A secret leaves the URL, decoded")
    func secrets() throws {
        let parsed = try PoolURL.parse("rbd://admin:a%2Fb-c_d==@mon/pool")
        #expect(parsed.secret == Secret("a/b-c_d=="))
        #expect(parsed.url.user == "admin")
    }

    @Test(
        "What is no URL is refused, and no part of it but the scheme is repeated",
        arguments: [
            "", "/srv/hunter2", "dir:/hunter2", "://hunter2", "d r://hunter2", "dir:///a/../hunter2",
            "dir:///a%2", "dir:///hunter2%zz", "dir:///hunter2%00", "dir:///hunter2\u{0}", "dir:///%ff",
            "dir:///hunter2?deadline", "dir:///a?=hunter2", "dir:///a?x=1&x=hunter2",
            "rbd://u:hunter2@mon/p?key=hunter2", "rbd://u:hunter2%@mon/p", "MVIP=1.2.3.4;clusterAdminPassword=hunter2",
            "rbd://u:a/hunter2@mon/p", "rbd://u:a?hunter2@mon/p", "rbd://u:a?hunter2=x@mon/p",
            "rbd://u:a@b/hunter2@mon/p", "rbd://a/hunter2@mon/p",
        ])
    func refusals(text: String) async {
        let error = await expect(.invalidArgument) { try PoolURL.parse(text) }
        #expect(error.map { !"\($0)".contains("hunter2") } ?? false)
    }

    @Test("A URL that is too long is refused")
    func length() async {
        await expect(.invalidArgument) { try PoolURL.parse("dir:///" + String(repeating: "a", count: 5000)) }
    }

    @Test("Any text parses or is refused, and what parses prints as something that parses to the same")
    func property() throws {
        var generator = SeededGenerator(seed: 7)
        let alphabet = Array("dir:/@?&=%.~aZ09 ä\u{0}\n#+,;[]")
        for _ in 0..<20_000 {
            let length = Int.random(in: 0..<40, using: &generator)
            let tail = String((0..<length).compactMap { _ in alphabet.randomElement(using: &generator) })
            guard let url = try? PoolURL.parse("dir://" + tail).url else { continue }
            #expect(try PoolURL.parse("\(url)").url == url, "\(tail)")
        }
    }

    @Test(
        "Parameters are checked",
        arguments: [
            "deadline=0", "deadline=x", "deadline=99999999999999999999", "overprovisioning=0.5", "overprovisioning=nan",
            "overprovisioning=inf", "force=maybe", "colour=red",
        ])
    func badParameters(parameter: String) async throws {
        let url = try PoolURL.parse("dir:///a?\(parameter)").url
        await expect(.invalidArgument) { try url.checkParameters(known: []) }
    }

    @Test("Parameters have values and defaults")
    func parameters() throws {
        let url = try PoolURL.parse("dir:///a?deadline=5&overprovisioning=2.5&force=true").url
        try url.checkParameters(known: [])
        #expect(url.deadlineSeconds == 5)
        #expect(url.overprovisioning == 2.5)
        #expect(url.isForced)
        let plain = try PoolURL.parse("dir:///a").url
        #expect(plain.deadlineSeconds == 60)
        #expect(plain.overprovisioning == nil)
        #expect(!plain.isForced)
    }
}
