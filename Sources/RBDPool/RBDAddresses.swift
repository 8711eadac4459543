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

        /// One address. Ceph's own ports say which messenger listens there; of any other both are tried.
        static func text(_ address: String, port: UInt16?) -> String {
            let host = address.contains(":") ? "[\(address)]" : address
            return switch port {
            case nil: host
            case 3300: "v2:\(host):3300"
            case 6789: "v1:\(host):6789"
            case let port?: "\(host):\(port)"
            }
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
                    addresses.append(
                        String(decoding: name.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self))
                }
                unsafe next = entry.pointee.ai_next
            }
            return addresses
        }

        /// A key as the cluster prints it: CloudStack writes `-` and `_` for `+` and `/`, so that it fits in a URL.
        static func standardBase64(_ text: String) -> String {
            String(text.map { $0 == "-" ? "+" : $0 == "_" ? "/" : $0 }.filter { !$0.isWhitespace })
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
