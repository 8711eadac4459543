import BlockStorage
import Testing

@testable import Sluice

@Suite struct ElementLocationTests {
    private func location(_ text: String) throws(StorageError) -> ElementLocation {
        let url = try PoolURL.parse(text).url
        try url.checkParameters(known: ElementLocation.parameters)
        return try ElementLocation(url)
    }

    @Test("the shortest URL gets the usual values")
    func shortest() throws {
        let location = try location("element://10.0.0.5?user=admin")
        #expect(location.host == "10.0.0.5" && location.port == 443 && location.user == "admin")
        #expect(location.portals.isEmpty && location.trust == .system && location.access == .account)
        #expect(location.defaultMinIOPS == 100 && location.defaultMaxIOPS == 15_000 && location.burstFactor == 1.5)
        #expect(location.account == "sluice" && location.shared == nil)
        #expect(location.lowestIOPS == nil && location.highestIOPS == nil)
    }

    @Test("every parameter is understood")
    func all() throws {
        let location = try location(
            "element://[fd00::5]:8443?svip=10.1.0.5:3261,[fd01::5]&user=admin&ca=%2Fetc%2Farray.pem&account=cloud"
                + "&access=group&access-group=hosts&default-min-iops=50&default-max-iops=200000&burst-factor=2"
                + "&lowest-iops=50&highest-iops=200000&deadline=5")
        #expect(location.host == "fd00::5" && location.port == 8443)
        #expect(location.portals.map(\.description) == ["10.1.0.5:3261", "[fd01::5]"])
        #expect(location.trust == .authorities("/etc/array.pem") && location.access == .group("hosts"))
        #expect(location.account == "cloud" && location.burstFactor == 2)
        #expect(location.defaultMinIOPS == 50 && location.defaultMaxIOPS == 200_000)
        let pinned = try self.location("element://a?user=b&fingerprint=\(String(repeating: "0a", count: 32))")
        #expect(pinned.trust == .certificate(String(repeating: "0A", count: 32)))
        #expect(try self.location("element://a?user=b&transport=http").trust == .unencrypted)
        #expect(try self.location("element://a?user=b&access=group").access == .group(nil))
        let shared = try self.location("element://a?user=b&minIops=500&maxIops=1000&burstIops=2000").shared
        #expect(try shared == QoSPolicy(minIOPS: 500, maxIOPS: 1000, burstIOPS: 2000))
        let mounted = try self.location("element://a?user=b&minIops=500&maxIops=1000&burstIops=2000&mount=/mnt/a")
        #expect(mounted.mountPoint == "/mnt/a")
    }

    @Test(
        "what cannot be meant is an invalid argument",
        arguments: [
            "element://?user=a", "element://a", "element://a/path?user=b", "element://a?user=", "element://a:0?user=b",
            "element://a:65536?user=b", "element://a:1:2?user=b", "element://c@a?user=b", "element://a?user=b&svip=",
            "element://a?user=b&svip=c:d", "element://a?user=b&ca=relative.pem", "element://a?user=b&fingerprint=ab",
            "element://a?user=b&transport=ftp", "element://a?user=b&transport=http&ca=/x",
            "element://a?user=b&ca=/x&fingerprint=\(String(repeating: "0a", count: 32))",
            "element://a?user=b&access=all", "element://a?user=b&access=account&access-group=x",
            "element://a?user=b&default-min-iops=49", "element://a?user=b&default-min-iops=15001",
            "element://a?user=b&default-min-iops=500&default-max-iops=400",
            "element://a?user=b&default-max-iops=200001", "element://a?user=b&burst-factor=0.9",
            "element://a?user=b&burst-factor=nan", "element://a?user=b&burst-factor=1e9",
            "element://a?user=b&minIops=500", "element://a?user=b&minIops=500&maxIops=400&burstIops=600",
            "element://a?user=b&unknown=c", "element://a?user=b&mount=/mnt/a",
            "element://a?user=b&minIops=500&maxIops=1000&burstIops=2000&mount=mnt", "element://[fd00?user=b",
            "element://a?user=b&highest-iops=99",
            "element://a?user=b&lowest-iops=100&default-min-iops=50",
        ])
    func refused(text: String) {
        let error = #expect(throws: StorageError.self) { _ = try location(text) }
        #expect(error?.code == .invalidArgument)
    }

    @Test("a password in the URL is taken out of it")
    func secret() throws {
        let (url, secret) = try PoolURL.parse("element://a?user=b&password=hunter2%3D")
        #expect(secret == Secret("hunter2=") && !"\(url)".contains("hunter2"))
        #expect(try ElementLocation(url).user == "b")
        let (other, otherSecret) = try PoolURL.parse("element://b:hunter2@a")
        #expect(otherSecret == Secret("hunter2") && !"\(other)".contains("hunter2"))
        #expect(try ElementLocation(other).user == "b")
    }

    // MARK: CloudStack's form

    private static let full =
        "MVIP=10.0.0.5;SVIP=10.1.0.5:3260;clusterAdminUsername=admin;clusterAdminPassword=pa=ss:w/ord?;"
        + "clusterDefaultMinIops=200;clusterDefaultMaxIops=300;clusterDefaultBurstIopsPercentOfMaxIops=2"

    @Test("what CloudStack calls a URL becomes one, and the password a secret")
    func cloudStack() throws {
        let (url, secret) = try #require(try ElementLocation.cloudStack(Self.full))
        #expect(secret == Secret("pa=ss:w/ord?"))
        #expect(!"\(url)".contains("ss:w"))
        #expect(
            "\(url)" == "element://10.0.0.5?burst-factor=2&default-max-iops=300&default-min-iops=200"
                + "&svip=10.1.0.5:3260&user=admin")
        // It is read back as the same.
        #expect(try PoolURL.parse("\(url)").url == url)
        let location = try ElementLocation(url)
        #expect(location.defaultMinIOPS == 200 && location.defaultMaxIOPS == 300 && location.burstFactor == 2)
        #expect(location.portals == [HostAndPort("10.1.0.5", port: 3260)] && location.port == 443)
    }

    @Test("keys come in any letters and any order, with a data centre that nobody needs")
    func letters() throws {
        let (url, _) = try #require(try ElementLocation.cloudStack(Self.full))
        let shuffled = Self.full.split(separator: ";").reversed().map { part in
            let pair = part.split(separator: "=", maxSplits: 1)
            return "\(pair[0].uppercased())=\(pair[1])"
        }
        let text = (["DataCenter=dummy"] + shuffled).joined(separator: ";") + ";"
        let (same, secret) = try #require(try ElementLocation.cloudStack(text))
        #expect(same == url && secret == Secret("pa=ss:w/ord?"))
    }

    @Test("what is missing or blank has the values that CloudStack gives it")
    func defaults() throws {
        for text in [
            "mvip=a:8443;clusterAdminUsername=b",
            "mvip=a:8443;svip=;clusterAdminUsername=b;clusterAdminPassword=;clusterDefaultMinIops= ;clusterDefaultMaxIops="
                + ";clusterDefaultBurstIopsPercentOfMaxIops=",
        ] {
            let (url, secret) = try #require(try ElementLocation.cloudStack(text))
            let location = try ElementLocation(url)
            #expect(location.defaultMinIOPS == 100 && location.defaultMaxIOPS == 15_000)
            #expect(location.burstFactor == 1.5 && location.port == 8443 && secret == nil)
            #expect("\(url)" == "element://a:8443?user=b")
        }
    }

    @Test("its shared form names one policy for all volumes")
    func shared() throws {
        let (url, _) = try #require(
            try ElementLocation.cloudStack(
                "MVIP=a;SVIP=b;clusterAdminUsername=c;clusterAdminPassword=d;minIops=1000;maxIops=2000;burstIops=4000"))
        #expect(try ElementLocation(url).shared == QoSPolicy(minIOPS: 1000, maxIOPS: 2000, burstIOPS: 4000))
    }

    @Test("its shared form says where the volume is mounted, too", arguments: ["mount", "Mount", "MOUNT"])
    func mount(key: String) throws {
        let (url, _) = try #require(
            try ElementLocation.cloudStack(
                "MVIP=a;clusterAdminUsername=c;clusterAdminPassword=d;minIops=1000;maxIops=2000;burstIops=4000"
                    + ";\(key)=/mnt/shared one"))
        try url.checkParameters(known: ElementLocation.parameters)
        #expect(try ElementLocation(url).mountPoint == "/mnt/shared one")
        #expect(try PoolURL.parse("\(url)").url == url)
    }

    @Test(
        "other texts are not CloudStack's", arguments: ["", "element://a?user=b", "nfs://a/MVIP=b", ";", "a=b;MVIP=c"])
    func others(text: String) throws { #expect(try ElementLocation.cloudStack(text) == nil) }

    @Test(
        "what cannot be meant is an invalid argument that repeats nothing of the password",
        arguments: [
            "MVIP=a;clusterAdminPassword=hunter2", "SVIP=a;clusterAdminUsername=b;clusterAdminPassword=hunter2",
            "MVIP=a;clusterAdminUsername=b;clusterAdminPassword=x;hunter2",
            "MVIP=a;clusterAdminUsername=b;clusterAdminPassword=x;hunter2=3",
            "MVIP=a;MVIP=b;clusterAdminUsername=b;clusterAdminPassword=hunter2",
            "MVIP=a b;clusterAdminUsername=b;clusterAdminPassword=hunter2",
            "MVIP=a;clusterAdminUsername=b;clusterDefaultMinIops=20000;clusterAdminPassword=hunter2",
            "MVIP=a;clusterAdminUsername=b;clusterDefaultBurstIopsPercentOfMaxIops=0.5;clusterAdminPassword=hunter2",
            "MVIP=a;clusterAdminUsername=b;clusterAdminPassword=hunter2\u{1}",
            "MVIP=a;clusterAdminUsername=b;mount=/mnt/a;clusterAdminPassword=hunter2",
        ])
    func badCloudStack(text: String) {
        let error = #expect(throws: StorageError.self) { _ = try ElementLocation.cloudStack(text) }
        #expect(error?.code == .invalidArgument && "\(error as Any)".contains("hunter2") == false)
    }
}
