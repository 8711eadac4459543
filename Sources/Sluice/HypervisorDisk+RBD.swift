import BlockStorage
import SystemPackage

/// An image in a Ceph cluster, as QEMU and libvirt open it by themselves.
struct RBDImage: Equatable, Sendable {
    /// What a hypervisor proves to the cluster who it is with. The key itself is in none of what is printed.
    struct Login: Equatable, Sendable {
        /// The secret's name in the secret store, a UUID: libvirt knows the key by it as well.
        var secret: String
        /// Where the key is.
        var secretFile: String
    }

    var format: VolumeFormat
    var pool: String
    var image: String
    var snapshot: String?
    /// The pool's cluster, and how it is used.
    var location: RBDLocation
    /// Nil where the hypervisor finds a key by itself, or needs none.
    var login: Login?

    /// `path` is `POOL/IMAGE`, as pools describe their volumes.
    init?(
        path: String, format: VolumeFormat, snapshot: String?, location: RBDLocation, secret: String?,
        secrets: SecretStore
    ) {
        let parts = path.split(separator: "/", maxSplits: 1).map(String.init)
        guard parts.count == 2 else { return nil }
        (self.format, pool, image, self.snapshot) = (format, parts[0], parts[1], snapshot)
        self.location = location
        login = secret.map { secret in
            Login(secret: secret.lowercased(), secretFile: secrets.directory.appending(secret).string)
        }
    }

    /// What precedes the block device: the key, by the file that holds it.
    func qemuObjects(_ nodeName: String) -> [String] {
        guard let login else { return [] }
        let options = [("id", "\(nodeName)-key"), ("format", "base64"), ("file", login.secretFile)]
        return ["-object", "secret," + HypervisorDisk.text(options)]
    }

    func qemuOptions(_ nodeName: String) -> [HypervisorDisk.Option] {
        var options = [("driver", format.rawValue)]
        // QEMU's driver gives librbd a cache unless it is told to go past caches.
        if location.cacheBytes == 0 { options.append(("cache.direct", "on")) }
        options += [("file.driver", "rbd"), ("file.pool", pool), ("file.image", image)]
        if let snapshot { options.append(("file.snapshot", snapshot)) }
        if let configuration = location.configurationFile { options.append(("file.conf", configuration)) }
        options.append(("file.user", location.user))
        if login != nil { options.append(("file.key-secret", "\(nodeName)-key")) }
        for (index, server) in qemuServers.enumerated() {
            options.append(("file.server.\(index).host", server.host))
            options.append(("file.server.\(index).port", "\(server.port)"))
        }
        return options
    }

    /// QEMU wants a port with each monitor: without one, both of Ceph's.
    private var qemuServers: [(host: String, port: UInt16)] {
        location.monitors.flatMap { monitor in
            (monitor.port.map { [$0] } ?? [3300, 6789]).map { (monitor.host, $0) }
        }
    }

    /// The elements before `<target>`.
    ///
    /// Throws `notSupported` where libvirt could not name the user: it does only together with a secret.
    func libvirtLines(discard: String) throws(StorageError) -> [String] {
        let escaped = HypervisorDisk.escaped
        guard login != nil || (location.user == "admin" && location.keyring == nil) else {
            throw StorageError(
                .notSupported, "print disk", at: "\(pool)/\(image)",
                why: "libvirt needs the key as a secret, and the pool has it in a keyring: add it with --secret-file")
        }
        let cache = location.cacheBytes == 0 ? "none" : "writeback"
        var lines = [
            "<disk type='network' device='disk'>",
            "  <driver name='qemu' type='\(format.rawValue)' cache='\(cache)'\(discard)/>",
        ]
        if let login {
            lines += [
                "  <auth username='\(escaped(location.user))'>",
                "    <secret type='ceph' uuid='\(login.secret)'/>",
                "  </auth>",
            ]
        }
        lines.append("  <source protocol='rbd' name='\(escaped("\(pool)/\(image)"))'>")
        lines += location.monitors.map { monitor in
            let port = monitor.port.map { " port='\($0)'" } ?? ""
            return "    <host name='\(escaped(monitor.host))'\(port)/>"
        }
        if let snapshot { lines.append("    <snapshot name='\(escaped(snapshot))'/>") }
        if let configuration = location.configurationFile {
            lines.append("    <config file='\(escaped(configuration))'/>")
        }
        return lines + ["  </source>"]
    }
}
