#if RBD
    import BlockStorage
    import Glibc
    import IORuntime
    import SystemPackage

    /// Monitors as librados takes them.
    enum RBDAddresses {
        /// Every address of every monitor. Blocks while names are looked up; a name that is not known is left out as
        /// long as another is.
        static func resolve(_ monitors: [RBDCluster.Monitor]) throws(SystemError) -> [String] {
            var addresses: [String] = []
            var unknown: [String] = []
            for monitor in monitors {
                let found = lookUp(monitor.host)
                if found.isEmpty { unknown.append(monitor.host) }
                for address in found.map({ text($0, port: monitor.port) }) where !addresses.contains(address) {
                    addresses.append(address)
                }
            }
            guard !addresses.isEmpty else {
                throw SystemError(.noRouteToHost, "no address is known for \(unknown.joined(separator: ", "))")
            }
            return addresses
        }

        /// One address, with the messenger that listens there. Ceph's own ports say which it is, and so does the monitor at
        /// any other: librados would try both, and take a wrong key for a monitor that does not answer.
        static func text(
            _ address: String, port: UInt16?, messenger: (_ address: String, _ port: UInt16) -> String? = greeting
        ) -> String {
            let host = address.contains(":") ? "[\(address)]" : address
            return switch port {
            case nil: host
            case 3300: "v2:\(host):3300"
            case 6789: "v1:\(host):6789"
            case let port?: (messenger(address, port).map { "\($0):" } ?? "") + "\(host):\(port)"
            }
        }

        /// How long a monitor may take to say which messenger it has.
        private static let greetingSeconds = 2

        /// `v1` or `v2`, by the banner that a monitor sends first; nil where nobody answers in time. Blocks.
        private static func greeting(_ address: String, _ port: UInt16) -> String? {
            var hints = unsafe addrinfo()
            unsafe hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
            unsafe hints.ai_flags = AI_NUMERICHOST
            var list: UnsafeMutablePointer<addrinfo>?
            guard unsafe getaddrinfo(address, "\(port)", &hints, &list) == 0, let entry = unsafe list else {
                return nil
            }
            defer { unsafe freeaddrinfo(list) }
            let descriptor = unsafe socket(entry.pointee.ai_family, Int32(SOCK_STREAM.rawValue), 0)
            guard descriptor >= 0 else { return nil }
            defer { _ = close(descriptor) }
            // Also bounds `connect`.
            var limit = timeval(tv_sec: greetingSeconds, tv_usec: 0)
            let size = socklen_t(MemoryLayout<timeval>.size)
            unsafe setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, size)
            unsafe setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &limit, size)
            guard unsafe connect(descriptor, entry.pointee.ai_addr, entry.pointee.ai_addrlen) == 0 else { return nil }
            var banner = [UInt8](repeating: 0, count: 8)
            let count = unsafe recv(descriptor, &banner, banner.count, Int32(MSG_WAITALL))
            guard count == banner.count else { return nil }
            let text = String(decoding: banner, as: UTF8.self)
            return text == "ceph v2\n" ? "v2" : text == "ceph v02" ? "v1" : nil
        }

        private static func lookUp(_ host: String) -> [String] {
            var hints = unsafe addrinfo()
            unsafe hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
            var list: UnsafeMutablePointer<addrinfo>?
            guard unsafe getaddrinfo(host, nil, &hints, &list) == 0 else { return [] }
            defer { unsafe freeaddrinfo(list) }
            var addresses: [String] = []
            var next = unsafe list
            while let entry = unsafe next {
                var name = [CChar](repeating: 0, count: Int(NI_MAXHOST))
                let result = unsafe getnameinfo(
                    entry.pointee.ai_addr, entry.pointee.ai_addrlen, &name, socklen_t(name.count), nil, 0,
                    NI_NUMERICHOST)
                if result == 0 {
                    addresses.append(String(upToZero: name))
                }
                unsafe next = entry.pointee.ai_next
            }
            return addresses
        }
    }

    extension RBDCluster {
        /// For people: the monitors and the pool.
        var place: String {
            let hosts = monitors.map { monitor in
                (monitor.host.contains(":") ? "[\(monitor.host)]" : monitor.host)
                    + (monitor.port.map { ":\($0)" } ?? "")
            }
            return hosts.joined(separator: ",") + "/\(pool)"
        }
    }
#endif
